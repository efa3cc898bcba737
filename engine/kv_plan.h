// What one cell does after the prompt: policies from left to right, each on what the former left;
// then a codec.
#pragma once

#include <vector>

#include "engine/kv_codec.h"
#include "engine/kv_policy.h"

namespace kv {

struct CompressionPlan {
  std::vector<PolicyPtr> policies;  // empty: every row stays
  CodecPtr codec;                   // null: rows stay as the prompt stored them (kv_dtype)

  // Throws Error where a policy or the codec cannot work on a model of this shape.
  void check_model(const ModelShape& shape) const {
    for (const PolicyPtr& policy : policies) policy->check_model(shape);
    if (codec) codec->check_head_dim(shape.head_dim);
  }

  // Whether a policy must know the question, and the plan for prompts whose last n_tokens tokens are
  // it (0: nothing marks it). Throws Error(kUsage) where a policy cannot work with such a question.
  bool needs_question() const {
    for (const PolicyPtr& policy : policies) {
      if (policy->needs_question()) return true;
    }
    return false;
  }
  CompressionPlan with_question(int n_tokens) const {
    CompressionPlan plan = *this;
    for (PolicyPtr& policy : plan.policies) {
      if (policy->needs_question()) policy = policy->with_question(n_tokens);
    }
    return plan;
  }
};

}  // namespace kv
