// per_layer: another policy with a ratio of its own for each layer (kvpress's
// PerLayerCompressionPress).
//
//   layer l keeps rows_kept(L, ratios[l]) rows of each KV head; 0 leaves it whole
#include <algorithm>
#include <numeric>

#include "compress/method.h"
#include "engine/error.h"

namespace kv {
namespace {

class PerLayerPolicy : public EvictionPolicy {
 public:
  PerLayerPolicy(EvictionRules rules, const std::vector<double>& ratios, std::string place)
      : EvictionPolicy(std::move(rules)), ratios_(ratios), place_(std::move(place)) {
    for (const double ratio : ratios_) inner_.push_back(this->rules().make_inner(ratio));
  }

  void check_model(const ModelShape& model) const override {
    if (static_cast<int>(ratios_.size()) != model.n_layers) {
      throw_usage(
          "{}{}per_layer: 'ratios' has {} numbers, but the model has {} layers; expected one "
          "for each",
          place_, place_.empty() ? "" : ": ", ratios_.size(), model.n_layers);
    }
    inner_.front()->check_model(model);
  }

  std::string note(int n_tokens) const override {
    for (const EvictionPtr& policy : inner_) {
      if (const std::string note = policy->note(n_tokens); !note.empty()) return note;
    }
    return {};
  }

  KvNeeds inputs(int n_tokens) const override { return inner_.front()->inputs(n_tokens); }

  LayerScores score(const LayerView& view) const override {
    return inner_[view.layer]->scored(view);
  }

 protected:
  bool removes() const override {
    return std::any_of(ratios_.begin(), ratios_.end(), [](double ratio) { return ratio > 0; });
  }
  int budget(const LayerView& view, int kv_head) const override {
    return rows_kept(view.heads[kv_head].n_rows, ratios_[view.layer]);
  }

 private:
  std::vector<double> ratios_;
  std::string place_;               // of `ratios`, for messages
  std::vector<EvictionPtr> inner_;  // (n_layers)
};

EvictionPtr make_per_layer(const Params& params, EvictionRules rules) {
  const Value& value = params.value("ratios");
  const std::vector<double> ratios = params.numbers("ratios");
  if (ratios.empty()) {
    throw_usage("{}{}per_layer: 'ratios' is empty; expected one number for each layer", value.place,
                value.place.empty() ? "" : ": ");
  }
  return std::make_shared<PerLayerPolicy>(std::move(rules), ratios, value.place);
}

}  // namespace

Method per_layer_method() {
  Method method;
  method.info.name = "per_layer";
  method.info.kind = "policy";
  method.info.kvpress_name = "PerLayerCompression";
  method.info.doc = "another policy with one ratio for each layer";
  ParamSpec ratios;
  ratios.name = "ratios";
  ratios.type = ParamSpec::Type::kNumberList;
  ratios.doc = "share of the rows REMOVED, one number for each layer";
  ratios.min = 0;
  ratios.max = 1;
  ratios.below_max = true;
  ratios.required = true;
  method.info.params = {inner_param("snapkv"), ratios};
  method.has_ratio = false;
  method.takes_inner = true;
  method.can_be_inner = false;
  method.kvpress_keys = {{"press", "inner"}, {"compression_ratios", "ratios"}};
  method.nominal_ratio = [](const Params& params) {
    const std::vector<double> all = params.numbers("ratios");
    return std::accumulate(all.begin(), all.end(), 0.0) / static_cast<double>(all.size());
  };
  method.no_repeat = "every layer has a ratio of its own";
  method.make_policy = make_per_layer;
  return method;
}

}  // namespace kv
