// A policy around another one: asks that one for scores and decides differently.
#pragma once

#include <string>
#include <utility>

#include "compress/eviction.h"
#include "engine/error.h"

namespace kv {

class AroundPolicy : public EvictionPolicy {
 public:
  explicit AroundPolicy(EvictionRules rules)
      : EvictionPolicy(std::move(rules)), inner_(this->rules().make_inner(this->rules().ratio)) {}

  std::string note(int n_tokens) const override { return inner_->note(n_tokens); }
  void check_model(const ModelShape& shape) const override { inner_->check_model(shape); }
  KvNeeds inputs(int n_tokens) const override { return inner_->inputs(n_tokens); }
  LayerScores score(const LayerView& view) const override { return inner_->scored(view); }

 protected:
  const EvictionPolicy& inner() const { return *inner_; }

 private:
  EvictionPtr inner_;
};

}  // namespace kv
