// Buffers of a forward pass, grown to the largest pass seen and kept.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/query_statistics.h"
#include "engine/repeat.h"
#include "engine/session.h"
#include "kernels/aligned.h"

namespace kv {

struct Session::Scratch {
  AlignedBuffer x;         // (n, dim) residual stream
  AlignedBuffer h;         // (n, dim) normed rows, then what is added to x
  AlignedBuffer parallel;  // (n, dim) the MLP's normed rows, with a parallel residual
  AlignedBuffer qkv;       // (n, (n_heads + 2 n_kv_heads) * head_dim)
  // (n, n_heads * head_dim) attention output, then (n, 2 hidden_dim) gate and up.
  AlignedBuffer wide;

  void size_for(const ModelConfig& config, int n_rows) {
    const int64_t heads =
        static_cast<int64_t>(config.n_heads + 2 * config.n_kv_heads) * config.head_dim;
    grow(x, static_cast<int64_t>(n_rows) * config.dim);
    grow(h, static_cast<int64_t>(n_rows) * config.dim);
    if (config.parallel_residual) grow(parallel, static_cast<int64_t>(n_rows) * config.dim);
    grow(qkv, n_rows * heads);
    grow(wide, n_rows * std::max(static_cast<int64_t>(config.n_heads) * config.head_dim,
                                 2 * static_cast<int64_t>(config.hidden_dim)));
  }

 private:
  static void grow(AlignedBuffer& buffer, int64_t floats) {
    const size_t n_bytes = static_cast<size_t>(floats) * sizeof(float);
    if (buffer.size() < n_bytes) buffer = AlignedBuffer(n_bytes);
  }
};

// Where a prefill leaves what policies want to know of its queries; null: not asked for.
struct PromptRecorder {
  QueryWindow* window = nullptr;
  int first_token = 0;  // of the window, in the sequence
  std::vector<QueryMoments>* moments = nullptr;
  std::vector<double>* attention_received = nullptr;  // (n_layers, n_heads, n_tokens)
  int n_tokens = 0;                                   // of the prompt
  // (n_heads, tokens of a pass) each, for attention_received.
  std::vector<float>*softmax_max = nullptr, *softmax_sum = nullptr;
  const RepeatPass* repeat = nullptr;  // the pass repeats a piece of the prompt
};

}  // namespace kv
