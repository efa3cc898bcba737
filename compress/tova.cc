// tova: what the prompt's last query attends to stays (arXiv 2401.06104, "Transformers are
// Multi-State RNNs").
//
//   A   = attention of the last prompt query to all rows, (n_heads, L): window_attention.h, w = 1
//   S_j = mean over all query heads of A[., j]; the same for every KV head, which so keep one set
//   the last row stays: its score is max(S) + 1
//
// After a former policy a row counts where its KV head still holds it; heads that hold different
// rows then keep different ones.
//
// Differs from the paper: the prompt is cut once; the paper drops one row at every step.
// Differs from kvpress: a prompt of one token is no error.
#include <algorithm>

#include "compress/method.h"
#include "compress/window_attention.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

class TovaPolicy : public EvictionPolicy {
 public:
  using EvictionPolicy::EvictionPolicy;

 protected:
  KvNeeds inputs(int n_tokens) const override {
    return {.window_queries = usable_window(1, n_tokens), .keys = true};
  }

  bool scores_serve_any_ratio() const override { return true; }
  LayerScores score(const LayerView& view) const override {
    std::vector<WindowAttention> attention(view.n_heads);
    parallel_for(view.n_heads,
                 [&](int64_t i) { window_attention(view, static_cast<int>(i), 1, attention[i]); });
    std::vector<float> mean(view.n_tokens, 0.0f);  // by original position
    for (int i = 0; i < view.n_heads; ++i) {
      const LayerView::HeadRows& head = view.heads[i / (view.n_heads / view.n_kv_heads)];
      for (int r = 0; r < head.n_rows; ++r) mean[head.positions[r]] += attention[i].weights[r];
    }
    for (float& m : mean) m /= static_cast<float>(view.n_heads);
    mean.back() = view.n_tokens > 1 ? *std::max_element(mean.begin(), mean.end() - 1) + 1 : 1;

    LayerScores out;
    for (const LayerView::HeadRows& head : view.heads) {
      std::vector<float>& scores = out.scores.emplace_back();
      for (const int32_t position : head.positions) scores.push_back(mean[position]);
      const bool holds_last = head.n_rows > 0 && head.positions.back() == view.n_tokens - 1;
      out.protection.push_back({.always = {}, .first = 0, .newest = holds_last ? 1 : 0});
    }
    return out;
  }
};

}  // namespace

Method tova_method() {
  Method method;
  method.info.name = "tova";
  method.info.kind = "policy";
  method.info.kvpress_name = "TOVA";
  method.info.doc = "keep what the last query of the prompt attends to";
  method.info.paper = "arXiv 2401.06104";
  method.make_policy = [](const Params&, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<TovaPolicy>(std::move(rules));
  };
  return method;
}

}  // namespace kv
