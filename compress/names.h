// Names that people write for methods: ours, kv-canary's, kvpress's class names, and names that are
// reserved for methods that this build does not have.
#pragma once

#include <string>
#include <vector>

#include "compress/method.h"
#include "engine/value.h"

namespace kv {

// A term in our own words: `name` is one of methods(), `budget` has become `ratio`, kvpress's
// parameter names ours.
struct ResolvedTerm {
  const Method* method = nullptr;
  bool kvpress_defaults = false;  // written as a kvpress class name
  Value params;                   // kMap without `name`
};

// term: of read_terms() after expand_ratio_lists(). Throws Error(kUsage) for unknown names (with
// the closest known one), for names that are not in this build and for budgets outside (0, 1].
ResolvedTerm resolve_term(const Value& term);

// A method's table with kvpress's defaults where its class name was written.
std::vector<ParamSpec> with_defaults_of(const ResolvedTerm& term, std::vector<ParamSpec> table);

}  // namespace kv
