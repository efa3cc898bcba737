// criticalkv, criticaladakv: what a row would add to the output decides the second half of the budget
// (arXiv 2502.03805, "Identify Critical KV Cache in LLM Inference from an Output Perturbation
// Perspective").
//
//   s    = scores of the policy inside
//   o_j  = mean over the query heads of the group of || V_j W_O ||_1, W_O the head's part of the
//          output projection
//   criticalkv: of each KV head the max(1, trunc((1 - ratio) L first_stage)) best by s stay (none at
//   first_stage = 0), then the best by (s + epsilon) o
//   criticaladakv: as many rows in each head as adakv (shared_budget.h) gives it by s; of these the
//   head's safe ones and the best trunc(rows * first_stage) by s, then the best by (s + epsilon) o
//
// Negative scores (knorm, keydiff) turn the second stage around: a larger o then counts less. Around
// expected_attention write vnorm=false: the norm is in o already.
//
// Differs from kvpress: rows are removed, not masked; any model with an output projection.
#include <algorithm>
#include <limits>

#include "compress/around.h"
#include "compress/method.h"
#include "compress/shared_budget.h"

namespace kv {
namespace {

constexpr float kChosen = std::numeric_limits<float>::max();  // the first stage took this row

struct CriticalParams {
  double alpha = 0.2;  // criticaladakv
  double epsilon = 1e-4;
  double first_stage = 0.5;
};

class CriticalPolicy : public AroundPolicy {
 public:
  CriticalPolicy(EvictionRules rules, const CriticalParams& params)
      : AroundPolicy(std::move(rules)), params_(params) {}

  KvNeeds inputs(int n_tokens) const override {
    KvNeeds needs = AroundPolicy::inputs(n_tokens);
    needs.output_norms = true;
    return needs;
  }

 protected:
  // (s + epsilon) o of one KV head.
  std::vector<float> second_stage(const LayerView& view, int kv_head,
                                  const std::vector<float>& scores) const {
    const int group = view.n_heads / view.n_kv_heads;
    std::vector<float> out(scores.size());
    for (size_t j = 0; j < scores.size(); ++j) {
      double norm = 0;
      for (int i = kv_head * group; i < (kv_head + 1) * group; ++i) norm += view.output_norms[i][j];
      out[j] = (scores[j] + static_cast<float>(params_.epsilon)) * static_cast<float>(norm / group);
    }
    return out;
  }

  CriticalParams params_;
};

class CriticalKvPolicy : public CriticalPolicy {
 public:
  using CriticalPolicy::CriticalPolicy;

  LayerScores score(const LayerView& view) const override {
    const LayerScores first = inner().scored(view);
    LayerScores out;
    for (int h = 0; h < view.n_kv_heads; ++h) {
      std::vector<float>& scores = out.scores.emplace_back(second_stage(view, h, first.scores[h]));
      const int n = static_cast<int>(scores.size());
      int budget = static_cast<int>((1 - ratio_of(view, n)) * n * params_.first_stage);
      if (params_.first_stage > 0) budget = std::max(1, budget);
      const Protection none;
      const Protection& protection = first.protection.empty() ? none : first.protection[h];
      for (const int32_t row :
           select_rows(first.scores[h], std::min(budget, n), protection, rules().ties)) {
        scores[row] = kChosen;
      }
    }
    return out;
  }
};

class CriticalAdaKvPolicy : public CriticalPolicy {
 public:
  using CriticalPolicy::CriticalPolicy;

 protected:
  LayerKeep choose(const LayerView& view, LayerScores scored) const override {
    const Ties ties = rules().ties;
    const std::vector<int> even_shares = even_budgets(view);
    const auto shares = shared_rows_kept(scored, even_shares, params_.alpha, ties);
    LayerKeep keep;
    for (int h = 0; h < view.n_kv_heads; ++h) {
      const std::vector<float>& s = scored.scores[h];
      const int budget = static_cast<int>(shares[h].size());
      const int even = std::min(even_shares[h], static_cast<int>(s.size()));
      const int n_safe = std::min(even, std::max(1, static_cast<int>(even * params_.alpha)));
      const int n_first = std::max(n_safe, static_cast<int>(budget * params_.first_stage));
      std::vector<float> second = second_stage(view, h, s);
      for (const int32_t row :
           select_rows(s, std::min(n_first, budget), scored.protection[h], ties)) {
        second[row] = kChosen;
      }
      const Protection protect{.always = scored.protection[h].always, .first = 0, .newest = 0};
      keep.rows.push_back(select_rows(second, budget, protect, ties));
    }
    keep.scores = std::move(scored.scores);
    return keep;
  }
};

CriticalParams read_params(const Params& params) {
  CriticalParams own;
  own.epsilon = params.number("epsilon");
  own.first_stage = params.number("first_stage");
  return own;
}

Method common_method(const std::string& name, const std::string& kvpress_name) {
  Method method;
  method.info.name = name;
  method.info.kind = "policy";
  method.info.kvpress_name = kvpress_name;
  method.info.paper = "arXiv 2502.03805";
  method.info.params = {
      inner_param("snapkv"),
      number_param("epsilon", "1e-4", "added to the scores in the second stage", 0),
      number_param("first_stage", "0.5", "share of the budget that the scores alone decide", 0, 1)};
  method.takes_inner = true;
  method.kvpress_keys = {{"press", "inner"}, {"first_stage_ratio", "first_stage"}};
  return method;
}

}  // namespace

Method criticalkv_method() {
  Method method = common_method("criticalkv", "CriticalKV");
  method.info.doc = "another policy's scores, then weighed with what a row adds to the output";
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<CriticalKvPolicy>(std::move(rules), read_params(params));
  };
  return method;
}

Method criticaladakv_method() {
  Method method = common_method("criticaladakv", "CriticalAdaKV");
  method.info.doc = "adakv's budgets of the heads, criticalkv's choice inside a head";
  method.info.params.insert(
      method.info.params.begin() + 1,
      number_param("alpha", "0.2", "share of its even budget that every head keeps", 0, 1));
  method.kvpress_keys.push_back({"alpha_safeguard", "alpha"});
  method.can_be_inner = false;
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    CriticalParams own = read_params(params);
    own.alpha = params.number("alpha");
    return std::make_shared<CriticalAdaKvPolicy>(std::move(rules), own);
  };
  return method;
}

}  // namespace kv
