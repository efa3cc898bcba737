// Values of a view in the layout of its keys.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/kv_policy.h"
#include "kernels/kernels.h"

namespace kv {

// Tiles of (head_dim, kTile) of the rows from first_row on; what lies beyond the last row repeats it.
inline std::vector<float> value_tiles(const LayerView::HeadRows& head, int head_dim,
                                      int first_row = 0) {
  const int64_t n_tiles = (head.n_rows - first_row + kTile - 1) / kTile;
  const int64_t tile_floats = int64_t{head_dim} * kTile;
  std::vector<float> tiles(static_cast<size_t>(n_tiles * tile_floats));
  for (int64_t t = 0; t < n_tiles; ++t) {
    const float* rows[kTile];
    for (int r = 0; r < kTile; ++r) {
      const int64_t row = std::min<int64_t>(first_row + t * kTile + r, head.n_rows - 1);
      rows[r] = head.values + row * padded(head_dim);
    }
    kernels().transpose_rows(rows, head_dim, tiles.data() + t * tile_floats);
  }
  return tiles;
}

}  // namespace kv
