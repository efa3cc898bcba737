// lukv: budgets of layers and heads from a curve measured beforehand (arXiv 2602.08585, "Predicting
// Future Utility: Global Combinatorial Optimization for Task-Agnostic KV Cache Eviction").
//
//   curves[c, layer, KV head]   share of the rows removed at the ratio (c + 1) / 100, from a file;
//                               c = round(100 ratio) - 1 within 0 .. 98
//   ideal_h = clamp(1 - curve, 0, 1) L        total = round(sum of ideal_h over the layer's heads)
//   head h keeps floor(ideal_h) rows; what is left of total goes, one row each, to the heads with the
//   largest fractions; at least one row
//   The first `sinks` and the last `window` rows stay; then the best by the policy inside.
//
// Differs from kvpress: rows are removed, not masked; curves are a safetensors file of the user's.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "compress/around.h"
#include "compress/method.h"
#include "engine/safetensors.h"

namespace kv {
namespace {

constexpr int kCurvePoints = 99;  // ratios 0.01 .. 0.99

class LukvPolicy : public AroundPolicy {
 public:
  LukvPolicy(EvictionRules rules, const std::string& file, int sinks, int window)
      : AroundPolicy(std::move(rules)), file_(file), sinks_(sinks), window_(window) {
    const Safetensors tensors = Safetensors::open_file(file);
    shape_ = tensors.get("curves", {kCurvePoints, -1, -1}).shape;
    curves_ = tensors.floats("curves");
  }

  void check_model(const ModelShape& model) const override {
    AroundPolicy::check_model(model);
    if (shape_[1] == model.n_layers && shape_[2] == model.n_kv_heads) return;
    throw_data(
        "{}: curves is [{}, {}, {}], but the model has {} layers and {} KV heads; expected curves "
        "measured on this model",
        file_, shape_[0], shape_[1], shape_[2], model.n_layers, model.n_kv_heads);
  }

  LayerScores score(const LayerView& view) const override {
    LayerScores scored = inner().scored(view);
    float largest = -INFINITY;
    for (const auto& scores : scored.scores) {
      for (const float s : scores) largest = std::max(largest, s);
    }
    scored.protection.assign(view.heads.size(), {.always = {}, .first = sinks_, .newest = window_});
    for (auto& scores : scored.scores) {
      const int n = static_cast<int>(scores.size());
      std::fill_n(scores.begin(), std::min(n, sinks_), largest + 1);
      std::fill_n(scores.rbegin(), std::min(n, window_), largest + 1);
    }
    return scored;
  }

 protected:
  int budget(const LayerView& view, int kv_head) const override {
    const int n_heads = view.n_kv_heads;
    const int point =
        std::clamp(static_cast<int>(std::nearbyint(100 * rules().ratio)) - 1, 0, kCurvePoints - 1);
    const float* removed =
        curves_.data() + (static_cast<int64_t>(point) * view.n_layers + view.layer) * n_heads;
    std::vector<float> ideal(n_heads);  // in float, as the reference counts
    for (int h = 0; h < n_heads; ++h) {
      const float rate = std::clamp(1.0f - removed[h], 0.0f, 1.0f);
      ideal[h] = rate * static_cast<float>(view.heads[h].n_rows);
    }
    const float sum = std::accumulate(ideal.begin(), ideal.end(), 0.0f);
    int left = std::max(n_heads, static_cast<int>(std::nearbyint(sum)));
    std::vector<float> fractions(n_heads);
    for (int h = 0; h < n_heads; ++h) {
      fractions[h] = ideal[h] - std::floor(ideal[h]);
      left -= static_cast<int>(std::floor(ideal[h]));
    }
    const auto extra = top_rows(fractions, std::clamp(left, 0, n_heads), Ties::kPosition);
    const int more = std::binary_search(extra.begin(), extra.end(), kv_head) ? 1 : 0;
    const int n_rows = view.heads[kv_head].n_rows;
    return std::clamp(static_cast<int>(std::floor(ideal[kv_head])) + more, std::min(1, n_rows),
                      n_rows);
  }

 private:
  std::string file_;
  int sinks_, window_;          // rows
  std::vector<int64_t> shape_;  // (99, n_layers, n_kv_heads)
  std::vector<float> curves_;
};

}  // namespace

Method lukv_method() {
  Method method;
  method.info.name = "lukv";
  method.info.kind = "policy";
  method.info.kvpress_name = "LUKV";
  method.info.doc = "budgets of layers and heads from measured curves, rows by another policy";
  method.info.paper = "arXiv 2602.08585";
  method.info.params = {inner_param("expected_attention(epsilon=0.02)"),
                        file_param("curves", "safetensors with curves (99, layers, KV heads)"),
                        integer_param("sinks", "4", "rows kept at the start", 0),
                        integer_param("window", "1", "newest rows kept", 0)};
  method.takes_inner = true;
  method.can_be_inner = false;
  method.kvpress_keys = {{"press", "inner"}, {"sink", "sinks"}};
  method.no_repeat = "its curves give every head a budget of its own";
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    const std::string file = file_in(rules.folder, params.string("curves"));
    return std::make_shared<LukvPolicy>(std::move(rules), file, params.integer("sinks"),
                                        params.integer("window"));
  };
  return method;
}

}  // namespace kv
