// One tile of keys and one of values of the same kTile rows, reference counted; bytes are counted where they
// are allocated.
#pragma once

#include <cstddef>
#include <utility>

namespace kv {

class TilePage;

// A shared page, which is copied before it is written to.
class PageRef {
 public:
  PageRef() = default;
  static PageRef allocate(size_t key_bytes, size_t value_bytes);  // zeroed
  PageRef(const PageRef& other);
  PageRef(PageRef&& other) noexcept : page_(other.page_) { other.page_ = nullptr; }
  PageRef& operator=(PageRef other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~PageRef();

  const std::byte* keys() const;
  const std::byte* values() const;
  void prefetch_keys() const;  // a hint that all of them are about to be read
  void prefetch_values() const;
  // For writing: copies the page first where others hold it too.
  std::byte* writable_keys();
  std::byte* writable_values();
  explicit operator bool() const { return page_ != nullptr; }
  bool same_as(const PageRef& other) const { return page_ == other.page_; }
  size_t bytes() const;

 private:
  void make_unique();
  TilePage* page_ = nullptr;
};

// Bytes of all pages alive in this process, and the most there ever were since the last reset.
size_t page_bytes_alive();
size_t page_bytes_peak();
void reset_page_bytes_peak();

}  // namespace kv
