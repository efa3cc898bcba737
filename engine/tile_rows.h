// Rows of one (layer, KV head) by the index of their tokens, in tiles of which old ones may be gone.
#pragma once

#include <vector>

#include "engine/kv_cache.h"

namespace kv {

class TileRows {
 public:
  // The first n_kept_tiles tiles are never given back.
  explicit TileRows(int n_kept_tiles = 0) : front_(static_cast<size_t>(n_kept_tiles)) {}

  int n_rows() const { return n_rows_; }  // appended so far, whether still there or not
  // Null where the tile was given back.
  const PageRef* tile(int index) const;

  // n rows more: keys before RoPE and values, row i at keys + i * stride.
  void append(const KvCodec& codec, int head_dim, const float* keys, const float* values,
              int64_t stride, int n);
  // Gives back the tiles (but the kept ones) all of whose rows lie before `row`.
  void drop_before(int row);

  size_t bytes() const;  // of the tiles held

  // The tiles held, in their order; and the state after n_rows rows of which those before `gone` were
  // dropped, where it has just as many tiles: else false.
  std::vector<PageRef> pages() const;
  bool assign(int n_rows, int gone, std::vector<PageRef> pages);

 private:
  PageRef& growing_tile(int index, const KvCodec& codec, int head_dim);

  int n_rows_ = 0;
  std::vector<PageRef> front_;  // tiles 0 .. ; null until they are reached
  std::vector<PageRef> tail_;   // tiles tail_first_ ..
  int tail_first_ = 0;          // used where tail_ is not empty
};

}  // namespace kv
