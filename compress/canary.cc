// canary_streamingllm, canary_snapkv: the caches of kv-canary, which cuts by its own rules.
//
//   kept = (1 - ratio) L, rounded half to even, at least 1
//   canary_streamingllm   the first min(sinks, kept) rows and the newest others
//   canary_snapkv         w = min(window, kept); S_j = mean over all query heads and the last `window`
//                         prompt queries of their attention to row j, the same for every KV head; the
//                         last w rows stay, then the kept - w best others
//
// Kept keys stay at their own positions, but decoding goes on from `kept` (positions=canary): queries
// then stand before keys that they attend to, and numbers suffer for it. Only for comparing with
// kv-canary.
//
// Differs from kv-canary: kept is never 0; scores by the mean over as many queries as there are where
// the prompt is shorter than `window`.
#include <algorithm>
#include <cmath>

#include "compress/method.h"
#include "compress/window_attention.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

class CanaryPolicy : public EvictionPolicy {
 public:
  using EvictionPolicy::EvictionPolicy;

 protected:
  int budget(const LayerView& view, int kv_head) const override {
    const int n = view.heads[kv_head].n_rows;
    const int kept = static_cast<int>(std::nearbyint((1.0 - rules().ratio) * n));
    return std::clamp(kept, std::min(1, n), n);
  }
};

class CanaryStreamingLlm : public CanaryPolicy {
 public:
  CanaryStreamingLlm(EvictionRules rules, int sinks)
      : CanaryPolicy(std::move(rules)), sinks_(sinks) {}

  // 1 for rows that stay, 0 for the others.
  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    for (int h = 0; h < view.n_kv_heads; ++h) {
      const int n = view.heads[h].n_rows, kept = budget(view, h), sinks = std::min(sinks_, kept);
      std::vector<float>& scores = out.scores.emplace_back(n, 1.0f);
      std::fill(scores.begin() + sinks, scores.end() - (kept - sinks), 0.0f);
      out.protection.push_back({.always = {}, .first = sinks_, .newest = n});
    }
    return out;
  }

 private:
  int sinks_;
};

class CanarySnapKv : public CanaryPolicy {
 public:
  CanarySnapKv(EvictionRules rules, int window) : CanaryPolicy(std::move(rules)), window_(window) {}

  KvNeeds inputs(int n_tokens) const override {
    return {.window_queries = std::min(window_, n_tokens), .keys = true};
  }

  LayerScores score(const LayerView& view) const override {
    const int window = view.n_window;
    std::vector<std::vector<double>> sums(view.n_heads);
    parallel_for(view.n_heads, [&](int64_t i) {
      WindowAttention attention;
      window_attention(view, static_cast<int>(i), window, attention);
      sums[i].assign(attention.stride, 0.0);
      for (int t = 0; t < window; ++t) {
        const float* row = attention.weights.data() + static_cast<int64_t>(t) * attention.stride;
        for (int j = 0; j < attention.stride; ++j) sums[i][j] += row[j];
      }
    });
    std::vector<double> mean(view.n_tokens, 0.0);  // by original position
    for (int i = 0; i < view.n_heads; ++i) {
      const LayerView::HeadRows& head = view.heads[i / (view.n_heads / view.n_kv_heads)];
      for (int r = 0; r < head.n_rows; ++r) mean[head.positions[r]] += sums[i][r];
    }
    const double largest = *std::max_element(mean.begin(), mean.end());
    LayerScores out;
    for (int h = 0; h < view.n_kv_heads; ++h) {
      const LayerView::HeadRows& head = view.heads[h];
      std::vector<float>& scores = out.scores.emplace_back();
      const double n_terms = static_cast<double>(view.n_heads) * window;
      for (const int32_t p : head.positions) {
        scores.push_back(static_cast<float>(mean[p] / n_terms));
      }
      const int newest = std::min(window_, budget(view, h));
      std::fill_n(scores.rbegin(), newest, static_cast<float>(largest / n_terms) + 1);
      out.protection.push_back({.always = {}, .first = 0, .newest = newest});
    }
    return out;
  }

 private:
  int window_;
};

Method common_method(const std::string& name, const std::string& doc) {
  Method method;
  method.info.name = name;
  method.info.kind = "policy";
  method.info.doc = doc;
  method.default_positions = "canary";
  method.no_repeat = "kv-canary cuts once, after the prompt";
  return method;
}

}  // namespace

Method canary_streamingllm_method() {
  Method method = common_method("canary_streamingllm", "kv-canary's first and newest rows");
  method.info.paper = "arXiv 2309.17453";
  method.info.params = {integer_param("sinks", "4", "rows kept at the start", 0)};
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<CanaryStreamingLlm>(std::move(rules), params.integer("sinks"));
  };
  return method;
}

Method canary_snapkv_method() {
  Method method = common_method("canary_snapkv", "kv-canary's vote: one set for all heads");
  method.info.paper = "arXiv 2404.14469";
  method.info.params = {integer_param("window", "8", "last prompt tokens that vote and stay", 1)};
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<CanarySnapKv>(std::move(rules), params.integer("window"));
  };
  return method;
}

}  // namespace kv
