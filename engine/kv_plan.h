// What one cell does after the prompt: policies from left to right, each on what the former left;
// then a codec; then, while tokens come, a cut that repeats. Or one method that acts at every step.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "engine/kv_codec.h"
#include "engine/kv_policy.h"
#include "engine/step_rules.h"

namespace kv {

// After every `every` tokens each KV head is cut back, as if all tokens so far had been the prompt
// and the rows that are left were what former policies had left of it.
struct RepeatedCut {
  int every = 0;
  int keep = 0;      // rows of a head that stay; 0: `ratio` says, or CompressionPlan::budget_bytes
  double ratio = 0;  // share of all tokens so far that goes
  PolicyPtr policy;  // chooses; told the number of rows by LayerView::keep_rows

  // Rows of a head that stay after n_tokens tokens.
  int rows_after(int n_tokens) const {
    if (keep > 0) return keep;
    return std::max(1, static_cast<int>(std::trunc(n_tokens * (1.0 - ratio))));
  }
};

struct CompressionPlan {
  std::vector<PolicyPtr> policies;  // empty: every row stays
  CodecPtr codec;                   // null: rows stay as the prompt stored them (kv_dtype)
  // After the prompt; null: later rows all stay.
  std::shared_ptr<const RepeatedCut> decode = nullptr;
  // While the prompt comes, and once more at its end; null: the prompt is exact, policies cut it once.
  std::shared_ptr<const RepeatedCut> prefill = nullptr;
  // Most bytes that the sequence may hold: from its prompt's end on, or, with `prefill`, throughout.
  // The cuts keep as many rows as that allows (engine/kv_budget.h). 0: they say themselves.
  int64_t budget_bytes = 0;
  StepPtr step = nullptr;  // a method that acts at every step, then without policies

  // Throws Error where a policy, the codec or the rules cannot work on a model of this shape.
  void check_model(const ModelShape& shape) const;

  // Whether a policy must know the question, and the plan for prompts whose last n_tokens tokens are
  // it (0: nothing marks it). Throws Error(kUsage) where a policy cannot work with such a question.
  bool needs_question() const {
    for (const PolicyPtr& policy : policies) {
      if (policy->needs_question()) return true;
    }
    return decode && decode->policy->needs_question();
  }
  CompressionPlan with_question(int n_tokens) const {
    CompressionPlan plan = *this;
    for (PolicyPtr& policy : plan.policies) {
      if (policy->needs_question()) policy = policy->with_question(n_tokens);
    }
    if (decode && decode->policy->needs_question()) {
      RepeatedCut cut = *decode;
      cut.policy = cut.policy->with_question(n_tokens);
      plan.decode = std::make_shared<const RepeatedCut>(std::move(cut));
    }
    return plan;
  }
};

}  // namespace kv
