// observed_attention: rows that received attention stay (relative of H2O, arXiv 2306.14048).
//
//   c_ij = sum over all prompt queries t of head i's attention A_i[t, j]
//   S_j  = mean over the query heads of the group of c_ij / (L - j)    queries that can see j
//
// Nothing is protected. The sums are taken from the prompt's own attention while it runs, query
// after query; no (L, L) matrix exists. After a former policy they are still those of the whole
// prompt.
//
// Differs from H2O: a mean instead of a sum, no recent window, and one cut after the prompt (H2O
// itself evicts at every step). Differs from kvpress: any attention, not only the eager one.
#include "compress/method.h"

namespace kv {
namespace {

class ObservedAttentionPolicy : public EvictionPolicy {
 public:
  using EvictionPolicy::EvictionPolicy;

  KvNeeds inputs(int) const override { return {.attention_received = true}; }

  bool scores_serve_any_ratio() const override { return true; }
  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    const int group = view.n_heads / view.n_kv_heads;
    for (int h = 0; h < view.n_kv_heads; ++h) {
      std::vector<float>& scores = out.scores.emplace_back();
      for (const int32_t position : view.heads[h].positions) {
        double sum = 0;
        for (int i = h * group; i < (h + 1) * group; ++i) {
          sum += view.attention_received[static_cast<int64_t>(i) * view.n_tokens + position];
        }
        scores.push_back(static_cast<float>(sum / group / (view.n_tokens - position)));
      }
    }
    return out;
  }
};

}  // namespace

Method observed_attention_method() {
  Method method;
  method.info.name = "observed_attention";
  method.info.kind = "policy";
  method.info.kvpress_name = "ObservedAttention";
  method.info.doc = "keep what the prompt's queries attended to on average";
  method.info.paper = "arXiv 2306.14048";
  method.no_repeat =
      "it needs the attention of all tokens so far, which only the prompt's pass sums up";
  method.make_policy = [](const Params&, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<ObservedAttentionPolicy>(std::move(rules));
  };
  return method;
}

}  // namespace kv
