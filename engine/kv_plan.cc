#include "engine/kv_plan.h"

#include "engine/error.h"

namespace kv {
namespace {

// Keys with learned positions cannot move.
void check_positions(const KvPolicy& policy, const ModelShape& shape) {
  if (shape.learned_positions && policy.positions() == Positions::kContiguous) {
    throw_usage(
        "{}: positions=contiguous cannot be had in this model: its learned positions were added to "
        "the hidden states that keys are made of; expected positions=original",
        policy.spec());
  }
  if (shape.n_sliding_layers > 0 && policy.positions() == Positions::kCanary) {
    throw_usage(
        "{}: positions=canary cannot be had in a model with sliding-window layers: what these see "
        "follows from true positions; expected positions=original or contiguous",
        policy.spec());
  }
}

void check_policy(const KvPolicy& policy, const ModelShape& shape) {
  if (shape.n_sliding_layers == shape.n_layers) {
    throw_usage(
        "{}: every layer of this model has a sliding window; policies leave such layers alone, so "
        "that nothing would be removed",
        policy.spec());
  }
  check_positions(policy, shape);
  policy.check_model(shape);
}

}  // namespace

void CompressionPlan::check_model(const ModelShape& shape) const {
  for (const PolicyPtr& policy : policies) check_policy(*policy, shape);
  if (decode) check_policy(*decode->policy, shape);
  if (prefill) check_policy(*prefill->policy, shape);
  if (codec) codec->check_head_dim(shape.head_dim);
  if (codec && codec->layer_codec() != nullptr && shape.n_sliding_layers > 0) {
    throw_usage(
        "{}: its groups span all rows of a layer, but rows leave the sliding-window layers of this "
        "model one by one",
        codec->spec());
  }
  if (step == nullptr) return;
  if (shape.n_sliding_layers > 0) {
    throw_usage(
        "{}: acts on every layer at every step, but {} of the {} layers of this model have a "
        "sliding "
        "window of their own",
        step->spec, shape.n_sliding_layers, shape.n_layers);
  }
  if (shape.learned_positions && step->acts_on_prompt()) {
    throw_usage(
        "{}: needs positions inside the cache, but the learned positions of this model were added "
        "to the hidden states that keys are made of",
        step->spec);
  }
}

}  // namespace kv
