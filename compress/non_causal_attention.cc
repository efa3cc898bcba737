// non_causal_attention: rows that the whole of their chunk looks at stay (the attention part of
// Compactor, arXiv 2507.08143).
//
// The prompt is cut into chunks of `chunk` tokens; the last one is filled up with zero queries and
// zero keys. Inside a chunk, queries and keys after RoPE, every query sees every key:
//   A    = softmax over the chunk of q . k           no 1 / sqrt(head_dim)
//   c_ij = sum over the chunk's queries of A[., j]; a zero query adds 1 / chunk to every key
//   s_j  = mean over the query heads of the group of c_ij, times ||V_j||
//   s    = mean over three neighbouring rows, zeros at the borders
//   S    = (s - mean) / max(standard deviation, 1e-6) over all rows and heads of the layer
//
// After a former policy a chunk has the keys that are left of it, and all its queries.
//
// Differs from the paper: this score stands alone (Compactor adds leverage scores).
#include <algorithm>
#include <cmath>

#include "compress/method.h"
#include "compress/row_norms.h"
#include "compress/softmax.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

class NonCausalAttentionPolicy : public EvictionPolicy {
 public:
  NonCausalAttentionPolicy(EvictionRules rules, int chunk)
      : EvictionPolicy(std::move(rules)), chunk_(chunk) {}

  KvNeeds inputs(int n_tokens) const override {
    return {.window_queries = n_tokens, .keys = true, .values = true};
  }

  bool scores_serve_any_ratio() const override { return true; }
  LayerScores score(const LayerView& view) const override {
    std::vector<std::vector<double>> received(view.n_heads);
    parallel_for(view.n_heads,
                 [&](int64_t i) { received[i] = column_sums(view, static_cast<int>(i)); });
    LayerScores out;
    const int group = view.n_heads / view.n_kv_heads;
    for (int h = 0; h < view.n_kv_heads; ++h) {
      std::vector<double> weighted(view.heads[h].n_rows, 0.0);
      const std::vector<double> norms = value_norms(view.heads[h], view.head_dim);
      for (int r = 0; r < view.heads[h].n_rows; ++r) {
        for (int i = h * group; i < (h + 1) * group; ++i) weighted[r] += received[i][r] / group;
        weighted[r] *= norms[r];
      }
      std::vector<float>& scores = out.scores.emplace_back();
      for (size_t r = 0; r < weighted.size(); ++r) {
        const double before = r > 0 ? weighted[r - 1] : 0;
        const double after = r + 1 < weighted.size() ? weighted[r + 1] : 0;
        scores.push_back(static_cast<float>((before + weighted[r] + after) / 3));
      }
    }
    standardise(out.scores);
    return out;
  }

 private:
  // c_i of the rows of the head's KV head.
  std::vector<double> column_sums(const LayerView& view, int query_head) const {
    const LayerView::HeadRows& head = view.heads[query_head / (view.n_heads / view.n_kv_heads)];
    std::vector<double> sums(head.n_rows, 0.0);
    int row = 0;
    for (int first = 0; first < view.n_tokens && row < head.n_rows; first += chunk_) {
      const int begin = row;
      while (row < head.n_rows && head.positions[row] - first < chunk_) ++row;
      add_chunk(view, query_head, first, begin, row, sums.data());
    }
    return sums;
  }

  // Adds what the queries of the tokens from first_token on give to the rows begin .. end - 1.
  void add_chunk(const LayerView& view, int query_head, int first_token, int begin, int end,
                 double* sums) const {
    if (begin == end) return;
    const int dim = view.head_dim;
    const LayerView::HeadRows& head = view.heads[query_head / (view.n_heads / view.n_kv_heads)];
    const int n_queries = std::min(chunk_, view.n_tokens - first_token);
    const int n_zeros = chunk_ - n_queries;  // zero keys, and as many zero queries
    const int first_tile = begin / kTile, n_tiles = (end + kTile - 1) / kTile - first_tile;
    const int stride = n_tiles * kTile, skip = begin - first_tile * kTile;
    std::vector<float> logits(static_cast<size_t>(n_queries) * stride);
    const float* queries = view.window_queries +
                           (static_cast<int64_t>(query_head) * view.n_window + first_token) * dim;
    for (int t = 0; t < n_tiles; ++t) {
      const float* keys = head.keys + static_cast<int64_t>(first_tile + t) * dim * kTile;
      kernels().gemm_f32(queries, dim, n_queries, dim, keys, kTile, logits.data() + t * kTile,
                         stride, false);
    }
    const int n_keys = end - begin;
    std::vector<float> row(n_keys + n_zeros + kLanes);
    for (int q = 0; q < n_queries; ++q) {
      const float* from = logits.data() + static_cast<int64_t>(q) * stride + skip;
      std::copy_n(from, n_keys, row.begin());
      std::fill_n(row.begin() + n_keys, n_zeros, 0.0f);
      softmax(row.data(), n_keys + n_zeros);
      for (int j = 0; j < n_keys; ++j) sums[begin + j] += row[j];
    }
    for (int j = begin; j < end; ++j) {
      sums[j] += static_cast<double>(n_zeros) / (n_keys + n_zeros);
    }
  }

  static void standardise(std::vector<std::vector<float>>& scores) {
    double sum = 0, squares = 0, n = 0;
    for (const auto& head : scores) {
      for (const float s : head) sum += s;
      n += static_cast<double>(head.size());
    }
    const double mean = sum / std::max(n, 1.0);
    for (const auto& head : scores) {
      for (const float s : head) squares += (s - mean) * (s - mean);
    }
    const double deviation = n > 1 ? std::sqrt(squares / (n - 1)) : 0;
    for (auto& head : scores) {
      for (float& s : head) s = static_cast<float>((s - mean) / std::max(deviation, 1e-6));
    }
  }

  int chunk_;
};

}  // namespace

Method non_causal_attention_method() {
  Method method;
  method.info.name = "non_causal_attention";
  method.info.kind = "policy";
  method.info.kvpress_name = "NonCausalAttn";
  method.info.doc = "keep what the queries of the row's own chunk attend to, later ones too";
  method.info.paper = "arXiv 2507.08143";
  method.info.params = {integer_param("chunk", "256", "tokens that see each other", 1)};
  method.kvpress_keys = {{"chunk_size", "chunk"}};
  method.no_repeat = "it needs the queries of all tokens so far";
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<NonCausalAttentionPolicy>(std::move(rules), params.integer("chunk"));
  };
  return method;
}

}  // namespace kv
