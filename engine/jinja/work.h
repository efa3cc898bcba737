// What one rendering may cost. A template comes with a model that somebody else made: one that loops for hours or fills
// the memory is refused like any other mistake in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace kv::jinja {

constexpr size_t kLargestText = size_t{1} << 24;  // bytes of one text
constexpr size_t kLongestList = size_t{1} << 20;  // items of one list or dict
constexpr int kDeepestValue = 200;                // lists in lists

// Counts the work of the rendering that this thread is at, from its making to its end.
class WorkCounter {
 public:
  WorkCounter();
  ~WorkCounter();
  WorkCounter(const WorkCounter&) = delete;
  WorkCounter& operator=(const WorkCounter&) = delete;

 private:
  uint64_t spent_ = 0;
};

// Before work is done: a unit stands for some ten nanoseconds or eight bytes. Throws TemplateError where it is too much;
// does nothing outside of a rendering.
void spend(size_t units);

// Of a text or list that is about to be made.
void check_text(size_t bytes);
void check_list(size_t items);

// A text that grows piece by piece.
class TextBuilder {
 public:
  TextBuilder& operator+=(std::string_view piece) {
    check_text(text_.size() + piece.size());
    text_ += piece;
    return *this;
  }
  TextBuilder& operator+=(char c) { return *this += std::string_view(&c, 1); }
  void repeat(std::string_view piece, size_t times);
  bool empty() const { return text_.empty(); }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace kv::jinja
