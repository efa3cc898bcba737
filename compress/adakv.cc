// adakv: heads share one budget (arXiv 2407.11550, "Ada-KV: Optimizing KV Cache Eviction by Adaptive
// Budget Allocation").
//
//   S        = scores of the policy inside
//   n_kept   = rows_kept(L, ratio), n_safe = max(1, trunc(n_kept * alpha))
//   each KV head keeps its n_safe best rows; of all others of the layer the best stay, until the layer
//   has n_heads * n_kept (shared_budget.h)
//
// Scores must be comparable across heads: those from attention are, norms hardly.
//
// Differs from kvpress: rows are removed, not masked; a head keeps one row also at alpha = 0.
#include "compress/around.h"
#include "compress/method.h"
#include "compress/shared_budget.h"

namespace kv {
namespace {

class AdaKvPolicy : public AroundPolicy {
 public:
  AdaKvPolicy(EvictionRules rules, double alpha) : AroundPolicy(std::move(rules)), alpha_(alpha) {}

 protected:
  LayerKeep choose(const LayerView& view, LayerScores scored) const override {
    LayerKeep keep;
    keep.rows = shared_rows_kept(scored, even_budgets(view), alpha_, rules().ties);
    keep.scores = std::move(scored.scores);
    return keep;
  }

 private:
  double alpha_;
};

}  // namespace

Method adakv_method() {
  Method method;
  method.info.name = "adakv";
  method.info.kind = "policy";
  method.info.kvpress_name = "AdaKV";
  method.info.doc = "the heads of a layer share one budget, by the scores of another policy";
  method.info.paper = "arXiv 2407.11550";
  method.info.params = {
      inner_param("snapkv"),
      number_param("alpha", "0.2", "share of its even budget that every head keeps", 0, 1)};
  method.takes_inner = true;
  method.can_be_inner = false;
  method.kvpress_keys = {{"press", "inner"}, {"alpha_safeguard", "alpha"}};
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<AdaKvPolicy>(std::move(rules), params.number("alpha"));
  };
  return method;
}

}  // namespace kv
