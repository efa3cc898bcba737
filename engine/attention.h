// Attention over the rows of a KvCache, alike for prefill, decode and batches of sequences.
//
// The rows of a head are taken in blocks of kAttnBlock, counted from its row 0: softmax inside a
// block, then the blocks are folded from left to right (merge_blocks). A query never sees how its
// sequence was cut into passes.
#pragma once

#include <cstdint>
#include <span>

#include "engine/kv_cache.h"
#include "engine/model_config.h"
#include "engine/rope.h"

namespace kv {

// The queries of one sequence in a pass; their own keys are already the last rows of the cache.
struct AttentionInput {
  const KvCache* cache = nullptr;
  // (n_tokens, n_heads * head_dim) before RoPE, rows `stride` floats apart.
  const float* queries = nullptr;
  int64_t stride = 0;
  int n_tokens = 0;
  int first_token = 0;   // index in the sequence of queries' first row
  float* out = nullptr;  // (n_tokens, n_heads * head_dim), rows out_stride floats apart
  int64_t out_stride = 0;
};

// softmax(q k^T / sqrt(head_dim)) v for every input; token i sees the rows of its sequence up to
// its own.
void attend(const ModelConfig& config, const RopeTable& rope, int layer,
            std::span<const AttentionInput> inputs);

}  // namespace kv
