#include "compress/window_attention.h"

#include <algorithm>
#include <cmath>

#include "compress/softmax.h"
#include "engine/error.h"
#include "kernels/kernels.h"

namespace kv {
namespace {

// Rows of the KV head at or before a position; positions rise.
int rows_up_to(const LayerView::HeadRows& head, int position) {
  return static_cast<int>(std::upper_bound(head.positions.begin(), head.positions.end(), position) -
                          head.positions.begin());
}

}  // namespace

int usable_window(int window, int n_tokens) {
  return std::max(0, std::min(window, n_tokens - 1));
}

int rows_before_window(const LayerView& view, int kv_head, int window) {
  return rows_up_to(view.heads[kv_head], view.n_tokens - window - 1);
}

void window_attention(const LayerView& view, int query_head, int window, WindowAttention& out) {
  KV_CHECK(window > 0 && window <= view.n_window, "window {} of {} queries", window, view.n_window);
  const LayerView::HeadRows& head = view.heads[query_head / (view.n_heads / view.n_kv_heads)];
  const int n_tiles = (head.n_rows + kTile - 1) / kTile;
  out.stride = n_tiles * kTile;
  out.weights.resize(static_cast<size_t>(window) * out.stride);

  const int64_t first_query =
      static_cast<int64_t>(query_head) * view.n_window + view.n_window - window;
  const float* queries = view.window_queries + first_query * view.head_dim;
  for (int tile = 0; tile < n_tiles; ++tile) {
    kernels().gemm_f32(queries, view.head_dim, window, view.head_dim,
                       head.keys + static_cast<int64_t>(tile) * view.head_dim * kTile, kTile,
                       out.weights.data() + tile * kTile, out.stride, false);
  }
  const auto inverse_root = static_cast<float>(1.0 / std::sqrt(static_cast<double>(view.head_dim)));
  for (int t = 0; t < window; ++t) {
    float* row = out.weights.data() + static_cast<int64_t>(t) * out.stride;
    const int n_visible = rows_up_to(head, view.n_tokens - window + t);
    kernels().scale(row, inverse_root, n_visible, row);
    softmax(row, n_visible);  // n_visible 0: a former policy removed all that this query saw
    std::fill(row + n_visible, row + out.stride, 0.0f);
  }
}

}  // namespace kv
