#include "engine/folded_attention.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/error.h"

namespace kv {

FoldedAttention& FoldedAttention::start(const KvCodec& codec, int head_dim, const QueryRows& rows) {
  thread_local FoldedAttention attention;
  attention.codec_ = &codec;
  attention.head_dim_ = head_dim;
  attention.width_ = padded(head_dim);
  attention.rows_ = rows;
  attention.size_for(rows.n_rows());
  std::fill_n(attention.sum_, rows.n_rows(), 0.0f);
  return attention;
}

void FoldedAttention::size_for(int n_rows) {
  constexpr int kTilesPerBlock = kAttnBlock / kTile;
  const size_t n = static_cast<size_t>(n_rows), width = static_cast<size_t>(width_);
  const size_t floats = n * (4 * width + kAttnBlock + 4) + (2 + kTilesPerBlock) * width * kTile;
  if (memory_.size() < floats * sizeof(float)) memory_ = AlignedBuffer(floats * sizeof(float));
  float* next = memory_.as<float>();
  const auto take = [&](size_t count) { return std::exchange(next, next + count); };
  key_tile_ = take(width * kTile);
  value_tile_ = take(width * kTile);
  rope_ = take(kTilesPerBlock * width * kTile);
  for (float*& queries : queries_) queries = take(n * width);
  scores_ = take(n * kAttnBlock);
  block_ = take(n * width);
  total_ = take(n * width);
  block_max_ = take(n);
  block_sum_ = take(n);
  max_ = take(n);
  sum_ = take(n);
}

const float* FoldedAttention::load_queries(int buffer, const RopeTable& rope,
                                           const std::function<int(int)>& position_of) {
  const AttentionInput& in = *rows_.input;
  const Kernels& k = kernels();
  for (int r = 0; r < rows_.n_rows(); ++r) {
    const int token = rows_.token(r), position = position_of(token);
    KV_CHECK(position >= 0 && position < rope.n_positions(), "position {} of {}", position,
             rope.n_positions());
    float* row = queries_[buffer] + r * head_dim_;
    std::copy_n(in.queries + token * in.stride + static_cast<int64_t>(rows_.head(r)) * head_dim_,
                head_dim_, row);
    k.rotate_row(row, rope.cos_row(position), rope.sin_row(position), rope.rotary_dim());
    k.scale(row, in.scale, head_dim_, row);
  }
  return queries_[buffer];
}

void FoldedAttention::score(const float* q, std::span<const Tile> tiles) {
  const int n_columns = tiles.back().column + kTile;
  int filled = 0;
  for (size_t t = 0; t < tiles.size(); ++t) {
    const Tile& tile = tiles[t];
    const std::byte* next =
        t + 1 < tiles.size() ? tiles[t + 1].page->keys() : tiles[0].page->values();
    for (int r = 0; r < rows_.n_rows() && filled < tile.column; ++r) {
      std::fill(scores(r) + filled, scores(r) + tile.column,
                -std::numeric_limits<float>::infinity());
    }
    codec_->score_keys(tile.page->keys(), tile.n_rows, head_dim_, tile.rope,
                       {q, head_dim_, rows_.n_rows(), scores_ + tile.column, kAttnBlock, next},
                       key_tile_);
    filled = tile.column + kTile;
    for (int r = 0; r < rows_.n_rows() && rows_.input->softcap > 0; ++r)
      cap_softly(scores(r) + tile.column, kTile, rows_.input->softcap);
  }
  KV_CHECK(filled == n_columns && n_columns <= kAttnBlock);
}

void FoldedAttention::fold(const float* q, std::span<const Tile> tiles, const Mask& mask) {
  const Kernels& k = kernels();
  const int n_columns = tiles.back().column + tiles.back().n_rows;
  score(q, tiles);
  for (int r = 0; r < rows_.n_rows(); ++r) {
    block_sum_[r] = 0;
    if (mask(r, scores(r))) {
      k.softmax_block(scores(r), n_columns, &block_max_[r], &block_sum_[r]);
    } else {
      std::fill_n(scores(r), n_columns, 0.0f);
    }
  }
  for (size_t t = 0; t < tiles.size(); ++t) {
    const Tile& tile = tiles[t];
    const std::byte* next = t + 1 < tiles.size() ? tiles[t + 1].page->values() : nullptr;
    codec_->weigh_values(tile.page->values(), tile.n_rows, head_dim_,
                         {scores_ + tile.column, kAttnBlock, rows_.n_rows(), block_, t > 0, next},
                         value_tile_);
  }
  for (int r = 0; r < rows_.n_rows(); ++r) {
    if (block_sum_[r] == 0) continue;  // saw nothing of this block
    float* total = total_ + r * width_;
    if (sum_[r] == 0) {
      std::copy_n(block_ + r * width_, width_, total);
      max_[r] = block_max_[r];
      sum_[r] = block_sum_[r];
    } else {
      k.merge_blocks(total, &max_[r], &sum_[r], block_ + r * width_, block_max_[r], block_sum_[r],
                     width_);
    }
  }
}

void FoldedAttention::write(int r) const {
  const AttentionInput& in = *rows_.input;
  float* out =
      in.out + rows_.token(r) * in.out_stride + static_cast<int64_t>(rows_.head(r)) * head_dim_;
  float* total = total_ + r * width_;
  if (codec_->mixes_values()) codec_->unmix(total, 1, head_dim_);
  kernels().scale(total, 1.0f / sum_[r], head_dim_, out);
}

}  // namespace kv
