// cur: rows of large leverage stay (CurDKV, arXiv 2509.15038, in kvpress's approximation by norms).
//
//   k_j = ||K_j||^2, v_j = ||V_j||^2
//   local: each is divided by its sum over the row's block of `window` consecutive rows, blocks
//          counted from row 0; the last one may be short
//   S   = k * v | k | v | (k + v) / 2    leverage = kv_product | key | value | kv_avg
//   S  /= sum over rows; the first `sinks` rows get 1 and stay
//
// Norms do not change under RoPE (but for yarn's factor), so keys before it serve.
//
// Differs from the paper: norms stand for the leverage of a decomposition.
// Differs from kvpress: no random projection; sums run in double.
#include <algorithm>
#include <cmath>

#include "compress/method.h"
#include "compress/row_norms.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

enum class Leverage { kProduct, kKey, kValue, kAverage };

struct CurParams {
  int sinks = 4;    // rows
  int window = 16;  // rows of a block
  bool local = true;
  Leverage leverage = Leverage::kProduct;
};

// Each value divided by the sum of its block; a block of zeros stays zero.
void normalise_blocks(std::vector<double>& x, int block) {
  for (size_t first = 0; first < x.size(); first += block) {
    const size_t end = std::min(x.size(), first + block);
    double sum = 0;
    for (size_t j = first; j < end; ++j) sum += x[j];
    for (size_t j = first; j < end && sum > 0; ++j) x[j] /= sum;
  }
}

class CurPolicy : public EvictionPolicy {
 public:
  CurPolicy(EvictionRules rules, const CurParams& params)
      : EvictionPolicy(std::move(rules)), params_(params) {}

 protected:
  KvNeeds inputs(int) const override { return {.raw_keys = true, .values = true}; }

  bool scores_serve_any_ratio() const override { return true; }
  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    out.scores.resize(view.heads.size());
    parallel_for(static_cast<int64_t>(view.heads.size()),
                 [&](int64_t h) { out.scores[h] = leverages(view, view.heads[h]); });
    out.protection.assign(view.heads.size(), {.always = {}, .first = params_.sinks, .newest = 0});
    return out;
  }

 private:
  std::vector<float> leverages(const LayerView& view, const LayerView::HeadRows& head) const {
    std::vector<double> k = squared_key_norms(view, head);
    std::vector<double> v = squared_value_norms(head, view.head_dim);
    if (params_.local) {
      normalise_blocks(k, params_.window);
      normalise_blocks(v, params_.window);
    }
    std::vector<double> s(head.n_rows);
    double sum = 0;
    for (int j = 0; j < head.n_rows; ++j) {
      s[j] = combined(k[j], v[j]);
      sum += s[j];
    }
    std::vector<float> scores(head.n_rows);
    for (int j = 0; j < head.n_rows; ++j) {
      scores[j] = j < params_.sinks ? 1.0f : static_cast<float>(sum > 0 ? s[j] / sum : 0);
    }
    return scores;
  }

  double combined(double k, double v) const {
    switch (params_.leverage) {
      case Leverage::kKey:
        return k;
      case Leverage::kValue:
        return v;
      case Leverage::kAverage:
        return (k + v) / 2;
      default:
        return k * v;
    }
  }

  CurParams params_;
};

EvictionPtr make_cur(const Params& params, EvictionRules rules) {
  CurParams own;
  own.sinks = params.integer("sinks");
  own.window = params.integer("window");
  own.local = params.boolean("local");
  const std::string& leverage = params.string("leverage");
  own.leverage = leverage == "key"      ? Leverage::kKey
                 : leverage == "value"  ? Leverage::kValue
                 : leverage == "kv_avg" ? Leverage::kAverage
                                        : Leverage::kProduct;
  return std::make_shared<CurPolicy>(std::move(rules), own);
}

}  // namespace

Method cur_method() {
  Method method;
  method.info.name = "cur";
  method.info.kind = "policy";
  method.info.kvpress_name = "CUR";
  method.info.doc = "keep the rows of the largest key and value norms among their neighbours";
  method.info.paper = "arXiv 2509.15038";
  method.info.params = {
      integer_param("sinks", "4", "rows kept at the start", 0),
      choice_param("leverage", "kv_product", "what norms are compared",
                   {"kv_product", "key", "value", "kv_avg"}),
      bool_param("local", "true", "norms are shares of their block of `window` rows"),
      integer_param("window", "16", "rows of a block", 1)};
  method.kvpress_keys = {{"num_sinks", "sinks"},
                         {"leverage_type", "leverage"},
                         {"use_local_approximation", "local"},
                         {"local_window_size", "window"}};
  method.make_policy = make_cur;
  return method;
}

}  // namespace kv
