// Attention over the rows of a KvCache, alike for prefill, decode and batches of sequences.
//
// The rows of a head are taken in blocks of kAttnBlock, counted from its row 0 (whether that is still
// there or not): softmax inside a block, then the blocks are folded from left to right (merge_blocks). A query never sees how its
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
  float scale = 1.0f;    // of the scores; ModelConfig::query_scale()
  float softcap = 0.0f;  // ModelConfig::attention_softcap
  // Where set: the maximum and the sum of every query's softmax, (n_heads, n_tokens) each.
  float* softmax_max = nullptr;
  float* softmax_sum = nullptr;
};

// x (n) = cap tanh(x / cap), in place.
void cap_softly(float* x, int64_t n, float cap);

// softmax(scale q k^T) v for every input, scores capped where it says so;
// token i sees the rows of its sequence up to its own, of a layer with a window the newest of them.
void attend(const ModelConfig& config, const RopeTable& rope, int layer,
            std::span<const AttentionInput> inputs);

// Adds to sums[head * stride + row] the softmax weights that the input's queries gave to each row,
// query after query in rising order. input: as attend() left it, with softmax_max and softmax_sum.
// So the sum over a prompt does not depend on how it was cut into passes. Not for layers with a window.
void add_attention_received(const ModelConfig& config, const RopeTable& rope, int layer,
                            const AttentionInput& input, double* sums, int64_t stride);

}  // namespace kv
