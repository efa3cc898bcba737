#include "compress/inner.h"

#include <optional>
#include <vector>

#include "compress/spec.h"
#include "engine/error.h"

namespace kv {
namespace {

std::string place_prefix(const Value& value) {
  return value.place.empty() ? "" : value.place + ": ";
}

void refuse_outer_keys(const Value& term, const std::string& outer, const std::string& key) {
  for (const char* name : {"ratio", "compression_ratio", "budget", "positions", "decode", "prefill",
                           "budget_bytes", "protect", "ties"}) {
    const Value* value = term.find(name);
    if (value == nullptr) continue;
    throw_usage("{}{}: '{}' of the policy inside belongs to the outer one: write it beside '{}'",
                place_prefix(value->place.empty() ? term : *value), outer, name, key);
  }
}

}  // namespace

Value canonical_term(const Method& method, const Params& params) {
  Value term;
  term.kind = Value::Kind::kMap;
  term.entries.emplace_back("name", Value::of(method.info.name));
  for (const ParamSpec& spec : method.info.params) {
    if (!params.is_null(spec.name)) term.entries.emplace_back(spec.name, params.value(spec.name));
  }
  return term.entries.size() > 1 ? term : Value::of(method.info.name);
}

InnerPolicy read_inner_policy(const Value& value, const std::string& outer,
                              const std::string& key) {
  const std::vector<Value> terms = read_terms(value);
  if (terms.size() != 1) {
    throw_usage("{}{}: '{}' takes one policy, found {}", place_prefix(value), outer, key,
                terms.size());
  }
  ResolvedTerm term = resolve_term(terms[0]);
  const Method& method = *term.method;
  if (!method.is_eviction() || (key == "inner" && !method.can_be_inner)) {
    throw_usage("{}{}: '{}' must be a policy that scores rows, found '{}'", place_prefix(value),
                outer, key, method.info.name);
  }
  refuse_outer_keys(terms[0], outer, key);
  std::optional<InnerPolicy> nested;
  if (method.takes_inner) nested = read_inner(term);
  const Params params =
      Params::read(term.params, with_defaults_of(term, method.info.params), method.info.name);

  if (method.info.name == "finch" && params.integer("window") == 0) {
    throw_usage("{}{}: finch inside must be given its 'window', the tokens of the question",
                place_prefix(value), outer);
  }
  InnerPolicy inner;
  inner.canonical = canonical_term(method, params);
  inner.no_repeat = method.no_repeat.empty() && nested ? nested->no_repeat : method.no_repeat;
  const std::string spec = format_value(inner.canonical);
  inner.make = [&method, params, spec, nested](const EvictionRules& rules, double ratio) {
    EvictionRules own;
    own.spec = own.scoring = spec;
    own.ratio = ratio;
    own.protect = rules.protect;
    own.ties = rules.ties;
    own.folder = rules.folder;
    own.repeated = rules.repeated;
    if (nested) {
      own.make_inner = [nested, own](double r) { return nested->make(own, r); };
    }
    return method.make_policy(params, std::move(own));
  };
  return inner;
}

InnerPolicy read_inner(ResolvedTerm& outer) {
  const Value* given = outer.params.find("inner");
  Value value = given != nullptr ? *given : Value::of(outer.method->info.params[0].default_text);
  if (value.place.empty()) value.place = outer.params.place;
  InnerPolicy inner = read_inner_policy(value, outer.method->info.name);
  Value replaced = inner.canonical;
  replaced.place = value.place;
  bool found = false;
  for (auto& [key, old] : outer.params.entries) {
    if (key == "inner") old = replaced, found = true;
  }
  if (!found) outer.params.entries.emplace_back("inner", replaced);
  outer.params.kind = Value::Kind::kMap;
  return inner;
}

}  // namespace kv
