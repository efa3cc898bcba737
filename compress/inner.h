// A policy that a spec names inside another one's parameters.
#pragma once

#include <functional>
#include <string>

#include "compress/method.h"
#include "compress/names.h"
#include "engine/value.h"

namespace kv {

struct InnerPolicy {
  Value canonical;  // a word or a term: its own parameters alone
  // With the outer one's `protect`, `ties`, folder and `repeated`, at a ratio.
  std::function<EvictionPtr(const EvictionRules& outer, double ratio)> make;
  std::string no_repeat;  // Method::no_repeat of it, or of what it has inside
};

// outer: whose parameter `key` this is, for messages. Throws Error(kUsage) where value is not one
// eviction policy (for `inner`: one whose scores decide), or has parameters that belong to the outer
// one.
InnerPolicy read_inner_policy(const Value& value, const std::string& outer,
                              const std::string& key = "inner");

// A term's own parameters in canonical form, as an inner policy: `knorm`, `snapkv(window=64,...)`.
Value canonical_term(const Method& method, const Params& params);

// Reads `inner` of a term (or its default) and puts the canonical form in its place.
InnerPolicy read_inner(ResolvedTerm& outer);

}  // namespace kv
