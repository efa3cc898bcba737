// A view of some of the rows of a view.
#pragma once

#include <cstdint>
#include <list>
#include <vector>

#include "engine/kv_policy.h"

namespace kv {

// The given rows of each KV head (indices, rising; none is allowed), packed like a view of their own.
// What belongs to the prompt as a whole (window queries, statistics) is the same.
class SubView {
 public:
  SubView(const LayerView& view, const std::vector<std::vector<int32_t>>& rows);
  SubView(const SubView&) = delete;
  SubView& operator=(const SubView&) = delete;

  const LayerView& view() const { return view_; }

 private:
  const float* key_tiles(const float* tiles, const std::vector<int32_t>& rows);

  LayerView view_;
  std::list<std::vector<float>> buffers_;
  std::list<std::vector<int32_t>> positions_;
};

}  // namespace kv
