// simlayerkv: layers that look only at the first and the newest rows keep only those (arXiv
// 2410.13846, "SimLayerKV: A Simple Framework for Layer-Level KV Cache Reduction").
//
//   a    = mean over query heads and the last `last` prompt queries of their attention to the rows
//          before these tokens (window_attention.h)
//   lazy = (sum of a over the first `sinks` rows) + (sum over the last `recent`) > threshold
//   a lazy layer keeps the first `sinks` and the newest recent - last rows, every other layer all
//
// Nothing happens at threshold 1 or with at most sinks + recent + last rows. The authors suggest 0.9
// for Llama 3, 0.65 for Llama 2, 0.8 for Mistral, 0.85 for Qwen.
//
// Differs from kvpress: recent = last keeps the first rows alone (there: everything, and the first
// rows twice).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "compress/method.h"
#include "compress/window_attention.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

struct SimLayerKvParams {
  double threshold = 1;
  int last = 1;       // queries
  int recent = 1024;  // rows
  int sinks = 4;      // rows
};

class SimLayerKvPolicy : public EvictionPolicy {
 public:
  SimLayerKvPolicy(EvictionRules rules, const SimLayerKvParams& params)
      : EvictionPolicy(std::move(rules)), params_(params) {}

  KvNeeds inputs(int n_tokens) const override {
    return {.window_queries = usable_window(params_.last, n_tokens), .keys = true};
  }

  // 1 for rows that stay, 0 for the others.
  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    const bool lazy = attention_at_the_ends(view) > params_.threshold;
    for (const LayerView::HeadRows& head : view.heads) {
      std::vector<float>& scores = out.scores.emplace_back(head.n_rows, 1.0f);
      const int newest = std::max(0, params_.recent - params_.last);
      if (lazy && params_.sinks + newest < head.n_rows) {
        std::fill(scores.begin() + params_.sinks, scores.end() - newest, 0.0f);
      }
    }
    return out;
  }

 protected:
  bool removes() const override { return params_.threshold < 1; }

  bool keeps_all(const LayerView& view) const override {
    const int64_t least = int64_t{params_.sinks} + params_.recent + params_.last;
    return !removes() || std::all_of(view.heads.begin(), view.heads.end(),
                                     [&](const auto& head) { return head.n_rows <= least; });
  }

  LayerKeep choose(const LayerView& view, LayerScores scored) const override {
    LayerKeep keep;
    for (int h = 0; h < view.n_kv_heads; ++h) {
      std::vector<int32_t>& rows = keep.rows.emplace_back();
      const std::vector<bool>& always = scored.protection[h].always;
      for (int r = 0; r < view.heads[h].n_rows; ++r) {
        if (scored.scores[h][r] > 0 || (!always.empty() && always[r])) rows.push_back(r);
      }
      if (rows.empty()) rows.push_back(view.heads[h].n_rows - 1);  // sinks=0, recent=last
    }
    keep.scores = std::move(scored.scores);
    return keep;
  }

 private:
  double attention_at_the_ends(const LayerView& view) const {
    const int window = usable_window(params_.last, view.n_tokens);
    const int group = view.n_heads / view.n_kv_heads;
    std::vector<double> sums(view.n_heads, 0.0);
    parallel_for(view.n_heads, [&](int64_t i) {
      WindowAttention attention;
      window_attention(view, static_cast<int>(i), window, attention);
      const int n = rows_before_window(view, static_cast<int>(i) / group, window);
      const int first = std::min(params_.sinks, n), recent = std::min(params_.recent, n);
      for (int t = 0; t < window; ++t) {
        const float* row = attention.weights.data() + static_cast<int64_t>(t) * attention.stride;
        sums[i] += std::accumulate(row, row + first, 0.0);
        sums[i] += std::accumulate(row + n - recent, row + n, 0.0);
      }
    });
    return std::accumulate(sums.begin(), sums.end(), 0.0) / view.n_heads / window;
  }

  SimLayerKvParams params_;
};

EvictionPtr make_simlayerkv(const Params& params, EvictionRules rules) {
  SimLayerKvParams own;
  own.threshold = params.number("threshold");
  own.last = params.integer("last");
  own.recent = params.integer("recent");
  own.sinks = params.integer("sinks");
  return std::make_shared<SimLayerKvPolicy>(std::move(rules), own);
}

}  // namespace

Method simlayerkv_method() {
  Method method;
  method.info.name = "simlayerkv";
  method.info.kind = "policy";
  method.info.kvpress_name = "SimLayerKV";
  method.info.doc = "layers that look only at the first and the newest rows keep only those";
  method.info.paper = "arXiv 2410.13846";
  method.info.params = {
      number_param("threshold", "1", "share of attention from which on a layer is lazy", 0, 1),
      integer_param("last", "1", "last prompt tokens that decide", 1),
      integer_param("recent", "1024", "newest rows of a lazy layer, `last` ones less", 0),
      integer_param("sinks", "4", "rows kept at the start of a lazy layer", 0)};
  method.has_ratio = false;
  method.can_be_inner = false;
  method.kvpress_keys = {{"lazy_threshold", "threshold"},
                         {"n_last", "last"},
                         {"n_recent", "recent"},
                         {"n_initial", "sinks"}};
  method.no_repeat = "it has no number of rows to keep";
  method.make_policy = make_simlayerkv;
  return method;
}

}  // namespace kv
