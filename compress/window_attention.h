// Attention of the prompt's last queries to the rows of the cache: what snapkv, tova, pyramidkv and
// finch score by.
#pragma once

#include <vector>

#include "engine/kv_policy.h"

namespace kv {

struct WindowAttention {
  int stride = 0;  // floats between rows: n_rows of the KV head, rounded up to whole tiles
  std::vector<float> weights;  // (window, stride)
};

// Queries that a method may use of a prompt: min(window, n_tokens - 1), so that at least one row
// lies before them.
int usable_window(int window, int n_tokens);

// The first rows of a KV head that lie before the last `window` prompt tokens: what the window
// votes on. In rising order of position they are rows 0 .. result - 1; the others belong to the
// window itself.
int rows_before_window(const LayerView& view, int kv_head, int window);

// out[t][j] = softmax over j of (q_t . K_j / sqrt(head_dim)) for t = 0 .. window - 1, where q_t is
// query head `query_head`'s rotated query of prompt token n_tokens - window + t and j runs over the
// rows of its KV head whose original position is at most that token's own; 0 for all others. 0 <
// window <= view.n_window.
//
// The sums run over all visible rows, the window's own included: cut to the rows before the window,
// a row of weights adds up to less than 1. Keys and queries are those of the view, at their
// original positions. The same bits on every instruction set.
void window_attention(const LayerView& view, int query_head, int window, WindowAttention& out);

}  // namespace kv
