#include "compress/window_attention.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "kernels/kernels.h"

namespace kv {
namespace {

// In place: scores (n) of one query -> softmax, by blocks of kAttnBlock that are brought together
// at the end. scores[n .. stride) is set to 0.
void softmax_row(float* scores, int n, int stride, std::vector<float>& block_max,
                 std::vector<float>& block_sum) {
  const Kernels& k = kernels();
  const int n_blocks = (n + kAttnBlock - 1) / kAttnBlock;
  block_max.resize(n_blocks);
  block_sum.resize(n_blocks);
  for (int b = 0; b < n_blocks; ++b) {
    const int first = b * kAttnBlock;
    k.softmax_block(scores + first, std::min(kAttnBlock, n - first), &block_max[b], &block_sum[b]);
  }
  std::fill(scores + n, scores + stride, 0.0f);
  if (n_blocks == 0) return;  // every row that this query saw was removed by a former policy

  const float max = *std::max_element(block_max.begin(), block_max.end());
  for (float& m : block_max) m -= max;
  k.exp_inplace(block_max.data(), n_blocks);
  double total = 0;
  for (int b = 0; b < n_blocks; ++b) total += static_cast<double>(block_max[b]) * block_sum[b];
  for (int b = 0; b < n_blocks; ++b) {
    const int first = b * kAttnBlock;
    k.scale(scores + first, static_cast<float>(block_max[b] / total),
            std::min(kAttnBlock, n - first), scores + first);
  }
}

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
  std::vector<float> block_max, block_sum;
  const auto inverse_root = static_cast<float>(1.0 / std::sqrt(static_cast<double>(view.head_dim)));
  for (int t = 0; t < window; ++t) {
    float* row = out.weights.data() + static_cast<int64_t>(t) * out.stride;
    const int n_visible = rows_up_to(head, view.n_tokens - window + t);
    kernels().scale(row, inverse_root, n_visible, row);
    softmax_row(row, n_visible, out.stride, block_max, block_sum);
  }
}

}  // namespace kv
