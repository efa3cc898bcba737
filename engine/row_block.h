// Blocks of rows that are still in their tiles, as FoldedAttention takes them.
#pragma once

#include <algorithm>
#include <limits>
#include <span>

#include "engine/folded_attention.h"
#include "engine/rope.h"
#include "engine/tile_rows.h"

namespace kv {

// The tiles of rows block * kAttnBlock .. before end_row that are wanted and still there.
class RowBlock {
 public:
  // rope: turns row j to the position j - base, base a multiple of kTile; null: keys as stored.
  // wanted(first row, n rows): false leaves a tile out.
  template <typename Wanted>
  RowBlock(const RopeTable* rope, int base, const TileRows& rows, int block, int end_row,
           FoldedAttention& attention, const Wanted& wanted)
      : first_row_(block * kAttnBlock) {
    HeadCache placed;  // where RoPE finds the rows
    placed.n_rows = rows.n_rows();
    placed.run_offset = -base;
    for (int first = first_row_; first < std::min(end_row, first_row_ + kAttnBlock);
         first += kTile) {
      const PageRef* page = rows.tile(first / kTile);
      const int n_rows = std::min(kTile, rows.n_rows() - first);
      if (page == nullptr || !wanted(first, n_rows)) continue;
      if (n_tiles_ == 0) page->prefetch_keys();
      const RopeTile turned =
          rope == nullptr ? RopeTile{}
                          : rope->tile(placed, first / kTile, attention.rope_scratch(n_tiles_));
      tiles_[n_tiles_++] = {first - first_row_, n_rows, page, turned};
    }
  }

  bool empty() const { return n_tiles_ == 0; }
  std::span<const FoldedAttention::Tile> tiles() const {
    return {tiles_, static_cast<size_t>(n_tiles_)};
  }
  int first_row() const { return first_row_; }
  int n_columns() const { return tiles_[n_tiles_ - 1].column + tiles_[n_tiles_ - 1].n_rows; }

  // Leaves only the scores of rows from .. to - 1; false: there are none.
  bool see_only(int from, int to, float* scores) const {
    constexpr float kUnseen = -std::numeric_limits<float>::infinity();
    from = std::clamp(from - first_row_, 0, n_columns());
    to = std::clamp(to - first_row_, from, n_columns());
    std::fill(scores, scores + from, kUnseen);
    std::fill(scores + to, scores + n_columns(), kUnseen);
    return from < to;
  }

 private:
  int first_row_, n_tiles_ = 0;
  FoldedAttention::Tile tiles_[kAttnBlock / kTile];
};

}  // namespace kv
