// `decode: {every, keep|ratio, inner}` of an eviction policy: the same cut again and again while
// tokens come (kvpress's DecodingPress, CompressionRatioDecodingPress and PrefillDecodingPress).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "compress/inner.h"
#include "engine/kv_plan.h"

namespace kv {

struct CutRule {
  Value canonical;  // (every=512,keep=2048); the policy inside only where it is another one
  int every = 0, keep = 0;
  double ratio = 0;
  std::optional<InnerPolicy> inner;  // none: the policy itself cuts again
};

ParamSpec decode_param();

// Reads `decode` of a term; empty where it has none. own: the term's policy as an inner one would be
// written. no_repeat: why that policy cannot cut again, or empty. Throws Error(kUsage) for unknown
// keys, for keep and ratio together, and for a policy that cannot cut again, with the reason.
std::optional<CutRule> read_decode(const ResolvedTerm& term, const Value& own,
                                   const std::string& no_repeat);

// own: makes the term's policy.
std::shared_ptr<const RepeatedCut> make_repeated_cut(
    const CutRule& rule, const EvictionRules& outer,
    const std::function<EvictionPtr(EvictionRules rules)>& own);

}  // namespace kv
