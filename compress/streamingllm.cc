// streamingllm: attention sinks and the newest rows (arXiv 2309.17453, "Efficient Streaming
// Language Models with Attention Sinks").
//
//   n_removed = L - trunc(L * (1 - ratio))
//   S = 0 for rows sinks .. sinks + n_removed - 1, else 1
//   kept: the first `sinks` rows and the newest others
//
// Fewer kept than sinks: the first ones.
//
// Differs from the paper: the prompt is cut once, after its exact prefill; later rows all stay.
// Kept keys take the positions 0 .. k - 1 (positions=contiguous), as in the paper.
// Differs from kvpress: kvpress keeps the original positions (here: positions=original), refuses
// prompts of at most `sinks` tokens, and picks among the sinks by torch's tie order when it keeps
// fewer (here: ties=torch).
#include <algorithm>
#include <cmath>

#include "compress/method.h"

namespace kv {
namespace {

class StreamingLlmPolicy : public EvictionPolicy {
 public:
  StreamingLlmPolicy(EvictionRules rules, int sinks)
      : EvictionPolicy(std::move(rules)), sinks_(sinks) {}

 protected:
  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    for (const LayerView::HeadRows& head : view.heads) {
      const int n = head.n_rows;
      const int n_removed = n - static_cast<int>(std::trunc(n * (1.0 - ratio_of(view, n))));
      const int64_t first = std::min(sinks_, n);
      const int64_t last = std::min<int64_t>(n, first + n_removed);
      std::vector<float>& scores = out.scores.emplace_back(n, 1.0f);
      std::fill(scores.begin() + first, scores.begin() + last, 0.0f);
      // The order of the paper holds also where `protect` takes places of the newest rows.
      out.protection.push_back({.always = {}, .first = sinks_, .newest = n});
    }
    return out;
  }

 private:
  int sinks_;
};

}  // namespace

Method streamingllm_method() {
  Method method;
  method.info.name = "streamingllm";
  method.info.kind = "policy";
  method.info.kvpress_name = "StreamingLLM";
  method.info.doc = "keep the first and the newest rows";
  method.info.paper = "arXiv 2309.17453";
  method.info.params = {integer_param("sinks", "4", "rows kept at the start", 0)};
  method.default_positions = "contiguous";
  method.kvpress_defaults = {{"positions", "original"}};
  method.kvpress_keys = {{"n_sink", "sinks"}};
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<StreamingLlmPolicy>(std::move(rules), params.integer("sinks"));
  };
  return method;
}

}  // namespace kv
