// Softmax attention of a few query rows of one KV head over tiles that the caller chooses, block after
// block: the arithmetic and the order of attention.cc, for methods that decide what a query sees.
#pragma once

#include <functional>
#include <limits>
#include <span>

#include "engine/attention.h"
#include "kernels/aligned.h"

namespace kv {

// Consecutive tokens of an input with all query heads of one KV head: row r is head
// r / n_tokens of the group and token first_token + r % n_tokens.
struct QueryRows {
  const AttentionInput* input = nullptr;
  int kv_head = 0, group = 0;
  int first_token = 0, n_tokens = 0;  // of the input

  int n_rows() const { return n_tokens * group; }
  int token(int r) const { return first_token + r % n_tokens; }
  int head(int r) const { return kv_head * group + r / n_tokens; }
};

class FoldedAttention {
 public:
  // One tile of a block of kAttnBlock columns.
  struct Tile {
    int column = 0;  // where its first row stands, a multiple of kTile
    int n_rows = 0;
    const PageRef* page = nullptr;
    RopeTile rope;  // null cos: keys as they are stored
  };
  // Sets to -inf what row r does not see of its scores (kAttnBlock); false: it sees nothing there.
  using Mask = std::function<bool(int r, float* scores)>;

  // The calling thread's own, sized for these rows, with nothing folded yet.
  static FoldedAttention& start(const KvCodec& codec, int head_dim, const QueryRows& rows);

  // Queries rotated at position_of(token of the input) and scaled, (n_rows, head_dim), in one of two
  // buffers.
  const float* load_queries(int buffer, const RopeTable& rope,
                            const std::function<int(int)>& position_of);
  // Room for the rope of one tile of a block (RopeTable::gather).
  float* rope_scratch(int tile_of_block) { return rope_ + tile_of_block * width_ * kTile; }

  // q k^T of every row with a block's tiles; columns without a tile are -inf.
  void score(const float* q, std::span<const Tile> tiles);
  float* scores(int r) { return scores_ + r * kAttnBlock; }

  // Scores, softmax and values of a block, folded into what the blocks before it left. scores(r) then holds
  // the exponentials of row r less block_max(r): its softmax, but for the sum.
  void fold(const float* q, std::span<const Tile> tiles, const Mask& mask);

  // The largest score of row r in the block folded last; -inf where it saw nothing of it.
  float block_max(int r) const {
    return block_sum_[r] == 0 ? -std::numeric_limits<float>::infinity() : block_max_[r];
  }
  float max(int r) const { return max_[r]; }  // of the folded rows' softmax
  float sum(int r) const { return sum_[r]; }
  void write(int r) const;  // the output of row r, into the input's out; once

 private:
  void size_for(int n_rows);

  AlignedBuffer memory_;
  const KvCodec* codec_ = nullptr;
  QueryRows rows_;
  int head_dim_ = 0, width_ = 0;
  float *key_tile_ = nullptr, *value_tile_ = nullptr, *rope_ = nullptr;
  float* queries_[2] = {};
  float* scores_ = nullptr;                    // (n_rows, kAttnBlock)
  float *block_ = nullptr, *total_ = nullptr;  // (n_rows, padded(head_dim))
  float *max_ = nullptr, *sum_ = nullptr;      // (n_rows) of the blocks folded so far
  float *block_max_ = nullptr, *block_sum_ = nullptr;
};

}  // namespace kv
