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
// M is positive definite; v^T M^-1 v = |L^-1 v|^2 with its Cholesky factor L, all in double.
// Differs from kvpress: a prompt of at most `sinks` tokens is no error.
#include <algorithm>
#include <cmath>

#include "compress/future_queries.h"
#include "compress/method.h"
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
  for (int i = 0; i < n; ++i) {
    double* row = m.data() + static_cast<int64_t>(i) * n;
    for (int j = 0; j <= i; ++j) {
      const double* other = m.data() + static_cast<int64_t>(j) * n;
      double sum = row[j];
      for (int k = 0; k < j; ++k) sum -= row[k] * other[k];
      row[j] = i == j ? std::sqrt(sum) : sum / other[j];
    }
  }
}

// |L^-1 v|^2.
double leverage(const std::vector<double>& factor, const float* v, int n) {
  std::vector<double> x(n);
  double sum = 0;
  for (int i = 0; i < n; ++i) {
    const double* row = factor.data() + static_cast<int64_t>(i) * n;
    double value = v[i];
    for (int k = 0; k < i; ++k) value -= row[k] * x[k];
    x[i] = value / row[i];
    sum += x[i] * x[i];
  }
  return sum;
}

class CapPolicy : public EvictionPolicy {
 public:
  CapPolicy(EvictionRules rules, const CapParams& params)
      : EvictionPolicy(std::move(rules)), params_(params) {}

  KvNeeds inputs(int) const override {
    return {.keys = true, .values = true, .query_statistics = {params_.sinks}};
  }

  LayerScores score(const LayerView& view) const override {
    const MeanRotation rotation(view, params_.future);
    std::vector<std::vector<double>> by_head(view.n_heads);
    parallel_for(view.n_heads,
                 [&](int64_t i) { by_head[i] = head_scores(view, rotation, static_cast<int>(i)); });
    LayerScores out;
    const int group = view.n_heads / view.n_kv_heads;
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
  // w_j v_j^T M^-1 v_j of the rows after the sinks.
  std::vector<double> head_scores(const LayerView& view, const MeanRotation& rotation,
                                  int query_head) const {
    const LayerView::HeadRows& head = view.heads[query_head / (view.n_heads / view.n_kv_heads)];
    const int dim = view.head_dim, first = std::min(params_.sinks, head.n_rows);
    const int64_t width = padded(dim);
    std::vector<double> weights = relevance(view, head, rotation.mean(query_head), first);
    std::vector<double> m(static_cast<size_t>(dim) * dim, 0.0);
    for (int d = 0; d < dim; ++d) m[static_cast<size_t>(d) * dim + d] = 1;
    for (size_t j = 0; j < weights.size(); ++j) {
      const float* v = head.values + static_cast<int64_t>(first + j) * width;
      for (int a = 0; a < dim; ++a) {
        const double scaled = (weights[j] + params_.epsilon) * v[a];
        for (int b = 0; b <= a; ++b) m[static_cast<size_t>(a) * dim + b] += scaled * v[b];
      }
    }
    factorise(m, dim);
    for (size_t j = 0; j < weights.size(); ++j) {
      weights[j] *= leverage(m, head.values + static_cast<int64_t>(first + j) * width, dim);
    }
    return weights;
  }

  // w_j.
  std::vector<double> relevance(const LayerView& view, const LayerView::HeadRows& head,
                                const std::vector<double>& mean, int first) const {
    constexpr double kSmallest = 1e-8;  // norms below it count as this one
    double mean_norm = 0;
    for (const double x : mean) mean_norm += x * x;
    mean_norm = std::max(std::sqrt(mean_norm), kSmallest);
    std::vector<float> logits;
    float largest = -INFINITY;
    for (int r = first; r < head.n_rows; ++r) {
      const float* key =
          head.keys + static_cast<int64_t>(r / kTile) * view.head_dim * kTile + r % kTile;
      double dot = 0, norm = 0;
      for (int d = 0; d < view.head_dim; ++d) {
        const double k = key[d * kTile];
        dot += mean[d] * k;
        norm += k * k;
      }
      const double cosine = dot / (mean_norm * std::max(std::sqrt(norm), kSmallest));
      logits.push_back(static_cast<float>(params_.tau * std::clamp(cosine, -1.0, 1.0)));
      largest = std::max(largest, logits.back());
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
