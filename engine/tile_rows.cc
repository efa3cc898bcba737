#include "engine/tile_rows.h"

#include <algorithm>

#include "engine/error.h"

namespace kv {

const PageRef* TileRows::tile(int index) const {
  if (index < static_cast<int>(front_.size())) return front_[index] ? &front_[index] : nullptr;
  const int at = index - tail_first_;
  return at >= 0 && at < static_cast<int>(tail_.size()) ? &tail_[at] : nullptr;
}

PageRef& TileRows::growing_tile(int index, const KvCodec& codec, int head_dim) {
  const auto new_page = [&] {
    return PageRef::allocate(codec.key_tile_bytes(head_dim), codec.value_tile_bytes(head_dim));
  };
  if (index < static_cast<int>(front_.size())) {
    if (!front_[index]) front_[index] = new_page();
    return front_[index];
  }
  if (tail_.empty()) tail_first_ = index;
  if (index == tail_first_ + static_cast<int>(tail_.size())) tail_.push_back(new_page());
  KV_CHECK(index == tail_first_ + static_cast<int>(tail_.size()) - 1, "tile {} after {}", index,
           tail_first_);
  return tail_.back();
}

void TileRows::append(const KvCodec& codec, int head_dim, const float* keys, const float* values,
                      int64_t stride, int n) {
  for (int done = 0; done < n;) {
    PageRef& page = growing_tile(n_rows_ / kTile, codec, head_dim);
    const int first = n_rows_ % kTile, count = std::min(kTile - first, n - done);
    codec.encode_keys(keys + done * stride, stride, first, count, head_dim, page.writable_keys());
    codec.encode_values(values + done * stride, stride, first, count, head_dim,
                        page.writable_values());
    n_rows_ += count;
    done += count;
  }
}

void TileRows::drop_before(int row) {
  const int n = std::min(row / kTile - tail_first_, static_cast<int>(tail_.size()));
  if (tail_.empty() || n <= 0) return;
  tail_.erase(tail_.begin(), tail_.begin() + n);
  tail_first_ += n;
}

std::vector<PageRef> TileRows::pages() const {
  std::vector<PageRef> pages;
  for (const PageRef& page : front_) {
    if (page) pages.push_back(page);
  }
  pages.insert(pages.end(), tail_.begin(), tail_.end());
  return pages;
}

bool TileRows::assign(int n_rows, int gone, std::vector<PageRef> pages) {
  const int n_tiles = (n_rows + kTile - 1) / kTile, n_kept = static_cast<int>(front_.size());
  const int n_front = std::min(n_kept, n_tiles);
  const int tail_first = std::max(n_kept, std::max(0, gone) / kTile);
  const int n_tail = std::max(0, n_tiles - tail_first);
  if (static_cast<int>(pages.size()) != n_front + n_tail) return false;
  std::fill(std::copy_n(pages.begin(), n_front, front_.begin()), front_.end(), PageRef());
  tail_.assign(pages.begin() + n_front, pages.end());
  tail_first_ = tail_first;
  n_rows_ = n_rows;
  return true;
}

size_t TileRows::bytes() const {
  size_t total = 0;
  for (const PageRef& page : front_) total += page.bytes();
  for (const PageRef& page : tail_) total += page.bytes();
  return total;
}

}  // namespace kv
