#include "compress/sub_view.h"

#include <algorithm>

#include "kernels/kernels.h"

namespace kv {

SubView::SubView(const LayerView& view, const std::vector<std::vector<int32_t>>& rows)
    : view_(view) {
  view_.known_scores = nullptr;
  const int width = padded(view.head_dim);
  for (size_t h = 0; h < rows.size(); ++h) {
    LayerView::HeadRows& head = view_.heads[h];
    const LayerView::HeadRows& from = view.heads[h];
    std::vector<int32_t>& positions = positions_.emplace_back();
    for (const int32_t r : rows[h]) positions.push_back(from.positions[r]);
    head.n_rows = static_cast<int>(rows[h].size());
    head.positions = positions;
    if (from.keys != nullptr) head.keys = key_tiles(from.keys, rows[h]);
    if (from.raw_keys != nullptr) head.raw_keys = key_tiles(from.raw_keys, rows[h]);
    if (from.values == nullptr) continue;
    std::vector<float>& values = buffers_.emplace_back(rows[h].size() * width);
    for (size_t r = 0; r < rows[h].size(); ++r) {
      std::copy_n(from.values + static_cast<int64_t>(rows[h][r]) * width, width,
                  values.data() + r * width);
    }
    head.values = values.data();
  }
  const int group = view.n_heads / view.n_kv_heads;
  for (size_t i = 0; i < view.output_norms.size(); ++i) {
    std::vector<float>& norms = buffers_.emplace_back();
    for (const int32_t r : rows[i / group]) norms.push_back(view.output_norms[i][r]);
    view_.output_norms[i] = norms;
  }
}

const float* SubView::key_tiles(const float* tiles, const std::vector<int32_t>& rows) {
  const size_t tile_floats = static_cast<size_t>(view_.head_dim) * kTile;
  std::vector<float>& out = buffers_.emplace_back((rows.size() + kTile - 1) / kTile * tile_floats);
  for (size_t r = 0; r < rows.size(); ++r) {
    const float* from = tiles + rows[r] / kTile * tile_floats + rows[r] % kTile;
    float* to = out.data() + r / kTile * tile_floats + r % kTile;
    for (int d = 0; d < view_.head_dim; ++d) to[d * kTile] = from[d * kTile];
  }
  return out.data();
}

}  // namespace kv
