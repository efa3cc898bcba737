// cap: rows that carry much of what later queries could read (CapKV, arXiv 2604.25975).
//
// mu the mean of head i's prompt queries before RoPE from token `sinks` on, m = R mu with the mean
// rotation R over the next `future` positions (future_queries.h); j runs over the rows from `sinks`
// on:
//   c_j = cos(m, K_j), clamped to [-1, 1]
//   w_j = exp(tau c_j - max over j)
//   M   = I + sum_j (w_j + epsilon) v_j v_j^T
//   S_j = mean over the query heads of the group of w_j (v_j^T M^-1 v_j)
//   the first `sinks` rows get max(S over all heads) + 1 and stay
//
// M is positive definite, no eigenvalue below 1; v^T M^-1 v = |L^-1 v|^2 with its Cholesky factor L,
// both in double, the products with the keys and values and their squares in float.
// Differs from kvpress: a prompt of at most `sinks` tokens is no error.
#include <algorithm>
#include <cmath>

#include "compress/future_queries.h"
#include "compress/lower_product.h"
#include "compress/method.h"
#include "compress/value_tiles.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

struct CapParams {
  double tau = 5;
  int future = 512;  // positions
  int sinks = 4;     // tokens
  double epsilon = 1e-6;
};

// In place: the lower triangle of a positive definite (n, n) becomes its Cholesky factor.
void factorise(std::vector<double>& m, int n) {
  std::vector<double> column(n);
  for (int k = 0; k < n; ++k) {
    const double root = std::sqrt(m[static_cast<size_t>(k) * n + k]);
    m[static_cast<size_t>(k) * n + k] = root;
    for (int i = k + 1; i < n; ++i) column[i] = m[static_cast<size_t>(i) * n + k] /= root;
    for (int i = k + 1; i < n; ++i) {
      double* row = m.data() + static_cast<int64_t>(i) * n;
      for (int j = k + 1; j <= i; ++j) row[j] -= row[k] * column[j];
    }
  }
}

// L^-1 (n, n), zeros above its diagonal.
std::vector<float> inverse(const std::vector<double>& factor, int n) {
  std::vector<double> rows(static_cast<size_t>(n) * n, 0.0);
  for (int i = 0; i < n; ++i) {
    const double* of = factor.data() + static_cast<int64_t>(i) * n;
    double* row = rows.data() + static_cast<int64_t>(i) * n;
    row[i] = 1;
    for (int k = 0; k < i; ++k) {
      const double* other = rows.data() + static_cast<int64_t>(k) * n;
      for (int j = 0; j <= k; ++j) row[j] -= of[k] * other[j];
    }
    for (int j = 0; j <= i; ++j) row[j] /= of[i];
  }
  return {rows.begin(), rows.end()};
}

class CapPolicy : public EvictionPolicy {
 public:
  CapPolicy(EvictionRules rules, const CapParams& params)
      : EvictionPolicy(std::move(rules)), params_(params) {}

  KvNeeds inputs(int) const override {
    return {.keys = true, .values = true, .query_statistics = {{params_.sinks}}};
  }

  bool scores_serve_any_ratio() const override { return true; }
  LayerScores score(const LayerView& view) const override {
    const MeanRotation rotation(view, params_.future);
    const int group = view.n_heads / view.n_kv_heads;
    std::vector<SharedRows> shared(view.n_kv_heads);
    parallel_for(view.n_kv_heads, [&](int64_t h) { shared[h] = shared_rows(view, view.heads[h]); });
    std::vector<std::vector<double>> by_head(view.n_heads);
    parallel_for(view.n_heads, [&](int64_t i) {
      by_head[i] = head_scores(view, rotation, static_cast<int>(i), shared[i / group]);
    });
    LayerScores out;
    float largest = 0;
    for (int h = 0; h < view.n_kv_heads; ++h) {
      std::vector<float>& scores = out.scores.emplace_back();
      for (size_t j = 0; j < by_head[h * group].size(); ++j) {
        double sum = 0;
        for (int i = h * group; i < (h + 1) * group; ++i) sum += by_head[i][j];
        scores.push_back(static_cast<float>(sum / group));
        largest = std::max(largest, scores.back());
      }
    }
    for (int h = 0; h < view.n_kv_heads; ++h) {
      const int first = std::min(params_.sinks, view.heads[h].n_rows);
      out.scores[h].insert(out.scores[h].begin(), first, largest + 1);
    }
    out.protection.assign(view.heads.size(), {.always = {}, .first = params_.sinks, .newest = 0});
    return out;
  }

 private:
  // What the query heads of one KV head share.
  struct SharedRows {
    int first = 0;                  // row after the sinks
    std::vector<double> key_norms;  // (n_rows)
    std::vector<float> values;      // tiles of the rows from `first` on
  };

  SharedRows shared_rows(const LayerView& view, const LayerView::HeadRows& head) const {
    const int first = std::min(params_.sinks, head.n_rows);
    return {first, key_norms(view, head), value_tiles(head, view.head_dim, first)};
  }

  // w_j v_j^T M^-1 v_j of the rows after the sinks.
  std::vector<double> head_scores(const LayerView& view, const MeanRotation& rotation,
                                  int query_head, const SharedRows& shared) const {
    const LayerView::HeadRows& head = view.heads[query_head / (view.n_heads / view.n_kv_heads)];
    const int dim = view.head_dim, first = shared.first;
    const std::vector<float>& values = shared.values;
    std::vector<double> weights = relevance(view, head, rotation.mean(query_head), shared);
    std::vector<double> m = weighted_products(head, dim, shared, weights);
    factorise(m, dim);
    const std::vector<float> unmix = inverse(m, dim);
    std::vector<float> product(static_cast<size_t>(dim) * kTile);
    for (int row = first; row < head.n_rows; row += kTile) {
      lower_product(unmix.data(), dim, values.data() + int64_t{row - first} * dim, product.data());
      float leverage[kTile] = {};
      for (int d = 0; d < dim; ++d) {
        for (int r = 0; r < kTile; ++r) {
          const float x = product[d * kTile + r];
          leverage[r] += x * x;
        }
      }
      for (int r = 0; r < std::min(kTile, head.n_rows - row); ++r)
        weights[row - first + r] *= leverage[r];
    }
    return weights;
  }

  // M, (dim, dim); only its lower triangle is right. Products of kAttnBlock rows are summed in float,
  // these sums in double.
  std::vector<double> weighted_products(const LayerView::HeadRows& head, int dim,
                                        const SharedRows& shared,
                                        const std::vector<double>& weights) const {
    const int first = shared.first;
    const int64_t width = padded(dim);
    std::vector<double> m(static_cast<size_t>(dim) * dim, 0.0);
    for (int d = 0; d < dim; ++d) m[static_cast<size_t>(d) * dim + d] = 1;
    std::vector<float> scaled(static_cast<size_t>(dim) * kAttnBlock), block(dim * width);
    for (int row = first; row < head.n_rows; row += kAttnBlock) {
      const int n = std::min(kAttnBlock, head.n_rows - row);
      float factors[kAttnBlock] = {};
      for (int r = 0; r < n; ++r)
        factors[r] = static_cast<float>(weights[row - first + r] + params_.epsilon);
      for (int at = 0; at < n; at += kTile) {
        const float* tile = shared.values.data() + int64_t{row - first + at} * dim;
        for (int d = 0; d < dim; ++d) {
          float* out = scaled.data() + int64_t{d} * kAttnBlock + at;
          for (int r = 0; r < kTile; ++r) out[r] = tile[d * kTile + r] * factors[at + r];
        }
      }
      for (int from = 0; from < dim; from += kPanel) {
        kernels().gemm_f32(scaled.data() + int64_t{from} * kAttnBlock, kAttnBlock, dim - from, n,
                           head.values + row * width + from, width,
                           block.data() + from * width + from, width, false);
      }
      for (int a = 0; a < dim; ++a) {
        for (int b = 0; b <= a; ++b) m[static_cast<size_t>(a) * dim + b] += block[a * width + b];
      }
    }
    return m;
  }

  static constexpr double kSmallest = 1e-8;  // norms below it count as this one

  static std::vector<double> key_norms(const LayerView& view, const LayerView::HeadRows& head) {
    std::vector<double> norms;
    for (int tile = 0; tile < head.n_rows; tile += kTile) {
      const float* keys = head.keys + static_cast<int64_t>(tile) * view.head_dim;
      double squares[kTile] = {};
      for (int d = 0; d < view.head_dim; ++d) {
        for (int r = 0; r < kTile; ++r) {
          const double k = keys[d * kTile + r];
          squares[r] += k * k;
        }
      }
      for (int r = 0; r < std::min(kTile, head.n_rows - tile); ++r)
        norms.push_back(std::max(std::sqrt(squares[r]), kSmallest));
    }
    return norms;
  }

  // w_j.
  std::vector<double> relevance(const LayerView& view, const LayerView::HeadRows& head,
                                const std::vector<double>& mean, const SharedRows& shared) const {
    const int first = shared.first;
    double mean_norm = 0;
    for (const double x : mean) mean_norm += x * x;
    mean_norm = std::max(std::sqrt(mean_norm), kSmallest);
    const std::vector<float> direction(mean.begin(), mean.end());
    std::vector<float> logits;
    float largest = -INFINITY;
    for (int tile = first / kTile * kTile; tile < head.n_rows; tile += kTile) {
      const float* keys = head.keys + static_cast<int64_t>(tile) * view.head_dim;
      float dots[kTile];
      kernels().gemm_f32(direction.data(), view.head_dim, 1, view.head_dim, keys, kTile, dots,
                         kTile, false);
      for (int r = std::max(0, first - tile); r < std::min(kTile, head.n_rows - tile); ++r) {
        const double cosine =
            static_cast<double>(dots[r]) / (mean_norm * shared.key_norms[tile + r]);
        logits.push_back(static_cast<float>(params_.tau * std::clamp(cosine, -1.0, 1.0)));
        largest = std::max(largest, logits.back());
      }
    }
    for (float& x : logits) x -= largest;
    kernels().exp_inplace(logits.data(), static_cast<int64_t>(logits.size()));
    return {logits.begin(), logits.end()};
  }

  CapParams params_;
};

EvictionPtr make_cap(const Params& params, EvictionRules rules) {
  CapParams own;
  own.tau = params.number("tau");
  own.future = params.integer("future");
  own.sinks = params.integer("sinks");
  own.epsilon = params.number("epsilon");
  return std::make_shared<CapPolicy>(std::move(rules), own);
}

}  // namespace

Method cap_method() {
  Method method;
  method.info.name = "cap";
  method.info.kind = "policy";
  method.info.kvpress_name = "Cap";
  method.info.doc = "keep rows that carry most of what later queries could read";
  method.info.paper = "arXiv 2604.25975";
  method.info.params = {
      number_param("tau", "5", "sharpness of the queries' weights", 0),
      integer_param("future", "512", "positions after the prompt that are averaged", 1),
      integer_param("sinks", "4", "rows kept at the start, left out of the mean", 0),
      number_param("epsilon", "1e-6", "added to the weights in M", 0)};
  method.kvpress_keys = {{"n_future_positions", "future"}, {"n_sink", "sinks"}};
  method.make_policy = make_cap;
  return method;
}

}  // namespace kv
