// Cuts that repeat while tokens come, as a spec says them on an eviction policy:
//
//   decode: {every, keep|ratio, inner}   after the prompt (kvpress's DecodingPress and its kin)
//   prefill: {every, keep|ratio}         while the prompt comes, and at its end
//   budget_bytes: N                      how many rows both keep follows from the bytes they may take
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compress/inner.h"
#include "engine/kv_plan.h"

namespace kv {

struct CutRule {
  Value canonical;  // (every=512,keep=2048); the policy inside only where it is another one
  int every = 0, keep = 0;
  double ratio = 0;
  std::optional<InnerPolicy> inner;  // none: the policy itself cuts again
};

struct CutRules {
  std::optional<CutRule> decode, prefill;
  int64_t budget_bytes = 0;
};

std::vector<ParamSpec> cut_rule_params();

// Whether a term has any of the three: its `ratio` is then 0 unless given.
bool has_cut_rules(const ResolvedTerm& term);

// Reads the three of a term and puts their canonical forms in their places. own: the term's policy as
// an inner one would be written. no_repeat: why that policy cannot cut again, or empty. Throws
// Error(kUsage) for unknown keys, for two ways to say how many rows stay, and for a policy that cannot
// cut again, with the reason.
CutRules read_cut_rules(ResolvedTerm& term, const Value& own, const std::string& no_repeat);

// own: makes the term's policy.
std::shared_ptr<const RepeatedCut> make_repeated_cut(
    const CutRule& rule, const EvictionRules& outer,
    const std::function<EvictionPtr(EvictionRules rules)>& own);

}  // namespace kv
