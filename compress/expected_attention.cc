// expected_attention: what queries still to come would attend to (arXiv 2510.00636, "Expected
// Attention: KV Cache Compression by Estimating Attention from Future Queries Distribution").
//
// Future queries of head i before RoPE are taken as normal with the mean mu_i and the covariance C_i
// of the prompt's queries from token `sinks` on. T = length of the prompt, R = the mean rotation over
// the positions T .. T + future - 1 (future_queries.h):
//
//   m = R mu, Sigma = R C R^T
//   e_j = m . K_j / sqrt(D) + K_j^T Sigma K_j / (2 D)    the second term where covariance=true
//   p   = softmax of e over the rows from `sinks` on
//   s_j = mean of p_j over the query heads of the group, + epsilon, times ||V_j|| where vnorm=true
//   S   = s, and max(s over all heads) + 1 for the first `sinks` rows, which stay
//
// After a former policy mean and covariance are still those of the whole prompt.
//
// Differs from the paper: the queries of this prompt are the sample, not those of another text.
// Differs from kvpress: a prompt of at most `sinks` tokens is no error; C is summed block by block
// (engine/query_statistics.h).
#include <algorithm>
#include <cmath>
#include <limits>

#include "compress/future_queries.h"
#include "compress/lower_product.h"
#include "compress/method.h"
#include "compress/row_norms.h"
#include "compress/softmax.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

struct ExpectedAttentionParams {
  int future = 512;  // positions
  int sinks = 4;     // tokens
  bool covariance = true;
  bool vnorm = true;
  double epsilon = 0;
};

class ExpectedAttentionPolicy : public EvictionPolicy {
 public:
  ExpectedAttentionPolicy(EvictionRules rules, const ExpectedAttentionParams& params)
      : EvictionPolicy(std::move(rules)), params_(params) {}

 protected:
  KvNeeds inputs(int) const override {
    return {.keys = true,
            .values = params_.vnorm,
            .query_statistics = {{params_.sinks, params_.covariance}}};
  }

  bool scores_serve_any_ratio() const override { return true; }
  LayerScores score(const LayerView& view) const override {
    const MeanRotation rotation(view, params_.future);
    std::vector<std::vector<float>> expected(view.n_heads);  // (n_heads)(rows after the sinks)
    parallel_for(view.n_heads, [&](int64_t i) {
      expected[i] = expected_weights(view, rotation, static_cast<int>(i));
    });
    LayerScores out;
    out.protection.assign(view.heads.size(), {.always = {}, .first = params_.sinks, .newest = 0});
    float largest = 0;
    for (int h = 0; h < view.n_kv_heads; ++h) {
      out.scores.push_back(head_scores(view, h, expected));
      for (const float s : out.scores.back()) largest = std::max(largest, s);
    }
    for (int h = 0; h < view.n_kv_heads; ++h) {
      out.scores[h].insert(out.scores[h].begin(), first_rows(view.heads[h]), largest + 1);
    }
    return out;
  }

 private:
  int first_rows(const LayerView::HeadRows& head) const {
    return std::min(params_.sinks, head.n_rows);
  }

  // What turns keys into exponents, (dim + 1, dim) or (1, dim): the lower triangle of Sigma / (2 D)
  // in blocks of rows (lower_product.h), with what stands above it added to it, then m / sqrt(D).
  std::vector<float> weights_of(const MeanRotation& rotation, int dim, int query_head) const {
    std::vector<float> weights;
    if (params_.covariance) {
      const std::vector<double> sigma = rotation.covariance(query_head);
      weights.resize(sigma.size());
      for (int a = 0; a < dim; ++a) {
        for (int b = 0; b < dim; ++b) {
          const double times = b / kLowerRows < a / kLowerRows ? 2 : 1;
          const size_t at = static_cast<size_t>(a) * dim + b;
          weights[at] = static_cast<float>(times * sigma[at] / (2.0 * dim));
        }
      }
    }
    for (const double m : rotation.mean(query_head))
      weights.push_back(static_cast<float>(m / std::sqrt(static_cast<double>(dim))));
    return weights;
  }

  // p of one query head.
  std::vector<float> expected_weights(const LayerView& view, const MeanRotation& rotation,
                                      int query_head) const {
    const int dim = view.head_dim, n_quadratic = params_.covariance ? dim : 0;
    const LayerView::HeadRows& head = view.heads[query_head / (view.n_heads / view.n_kv_heads)];
    const std::vector<float> weights = weights_of(rotation, dim, query_head);
    const int n_tiles = (head.n_rows + kTile - 1) / kTile;
    std::vector<float> exponents(static_cast<size_t>(n_tiles) * kTile + kLanes);
    std::vector<float> product(static_cast<size_t>(n_quadratic + 1) * kTile);
    for (int t = 0; t < n_tiles; ++t) {
      const float* keys = head.keys + static_cast<int64_t>(t) * dim * kTile;
      lower_product(weights.data(), n_quadratic, keys, product.data());
      kernels().gemm_f32(weights.data() + static_cast<int64_t>(n_quadratic) * dim, dim, 1, dim,
                         keys, kTile, product.data() + n_quadratic * kTile, kTile, false);
      double e[kTile];
      std::copy_n(product.data() + n_quadratic * kTile, kTile, e);
      for (int d = 0; d < n_quadratic; ++d) {
        for (int r = 0; r < kTile; ++r)
          e[r] += static_cast<double>(product[d * kTile + r]) * keys[d * kTile + r];
      }
      std::copy_n(e, kTile, exponents.data() + t * kTile);
    }
    const int n = head.n_rows - first_rows(head);
    exponents.erase(exponents.begin(), exponents.begin() + first_rows(head));
    softmax(exponents.data(), n);
    exponents.resize(n);
    return exponents;
  }

  // S of the rows after the sinks.
  std::vector<float> head_scores(const LayerView& view, int kv_head,
                                 const std::vector<std::vector<float>>& expected) const {
    const LayerView::HeadRows& head = view.heads[kv_head];
    const int group = view.n_heads / view.n_kv_heads, first = first_rows(head);
    std::vector<float> scores(head.n_rows - first, 0.0f);
    const std::vector<double> norms =
        params_.vnorm ? value_norms(head, view.head_dim) : std::vector<double>();
    for (int i = kv_head * group; i < (kv_head + 1) * group; ++i) {
      for (size_t j = 0; j < scores.size(); ++j) scores[j] += expected[i][j];
    }
    for (size_t j = 0; j < scores.size(); ++j) {
      scores[j] = scores[j] / static_cast<float>(group) + static_cast<float>(params_.epsilon);
      if (params_.vnorm) scores[j] *= static_cast<float>(norms[first + j]);
    }
    return scores;
  }

  ExpectedAttentionParams params_;
};

EvictionPtr make_expected_attention(const Params& params, EvictionRules rules) {
  ExpectedAttentionParams own;
  own.future = params.integer("future");
  own.sinks = params.integer("sinks");
  own.covariance = params.boolean("covariance");
  own.vnorm = params.boolean("vnorm");
  own.epsilon = params.number("epsilon");
  return std::make_shared<ExpectedAttentionPolicy>(std::move(rules), own);
}

}  // namespace

Method expected_attention_method() {
  Method method;
  method.info.name = "expected_attention";
  method.info.kind = "policy";
  method.info.kvpress_name = "ExpectedAttention";
  method.info.doc = "keep what queries drawn like the prompt's would attend to at later positions";
  method.info.paper = "arXiv 2510.00636";
  method.info.params = {
      integer_param("future", "512", "positions after the prompt that are averaged", 1),
      integer_param("sinks", "4", "rows kept at the start, left out of the statistics", 0),
      bool_param("covariance", "true", "take the spread of the queries into account"),
      bool_param("vnorm", "true", "weigh with the norms of the values"),
      number_param("epsilon", "0", "added to the weights before the norms", 0)};
  method.kvpress_keys = {{"n_future_positions", "future"},
                         {"n_sink", "sinks"},
                         {"use_covariance", "covariance"},
                         {"use_vnorm", "vnorm"}};
  method.make_policy = make_expected_attention;
  return method;
}

}  // namespace kv
