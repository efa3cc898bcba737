// What one cell does after the prompt: policies from left to right, each on what the former left;
// then a codec. Or one method that acts at every step.
#pragma once

#include <vector>

#include "engine/kv_codec.h"
#include "engine/kv_policy.h"
#include "engine/step_rules.h"

namespace kv {

struct CompressionPlan {
  std::vector<PolicyPtr> policies;  // empty: every row stays
  CodecPtr codec;                   // null: rows stay as the prompt stored them (kv_dtype)
  StepPtr step;                     // a method that acts at every step, then without policies

  // Throws Error where a policy or the codec cannot work on a model of this shape.
  void check_model(const ModelShape& shape) const {
    for (const PolicyPtr& policy : policies) policy->check_model(shape);
    if (codec) codec->check_head_dim(shape.head_dim);
  }
};

}  // namespace kv
