#include "compress/cut_rules.h"

#include <utility>

#include "engine/error.h"

namespace kv {
namespace {

std::string place_of(const Value& value, const Value& outer) {
  const std::string& place = value.place.empty() ? outer.place : value.place;
  return place.empty() ? "" : place + ": ";
}

std::vector<ParamSpec> cut_params() {
  ParamSpec keep = integer_param("keep", "2048", "rows of each KV head that a cut leaves", 1);
  ParamSpec ratio =
      number_param("ratio", "null", "instead of keep: share of all tokens so far", 0, 1);
  ratio.below_max = true;
  ParamSpec inner = inner_param("null");
  inner.doc = "the policy that cuts; the same with the same parameters unless given";
  return {integer_param("every", "512", "tokens from one cut to the next", 1), keep, ratio, inner};
}

}  // namespace

ParamSpec decode_param() {
  ParamSpec spec;
  spec.name = "decode";
  spec.type = ParamSpec::Type::kAny;
  spec.default_text = "null";
  spec.doc =
      "(every=512,keep=2048 or ratio,inner): after every that many tokens cut each KV head back";
  return spec;
}

std::optional<CutRule> read_decode(const ResolvedTerm& term, const Value& own,
                                   const std::string& no_repeat) {
  const Value* given = term.params.find("decode");
  if (given == nullptr || given->is_null()) return std::nullopt;
  const std::string& name = term.method->info.name;
  const std::string place = place_of(*given, term.params);
  if (!given->is_map() || given->find("name") != nullptr) {
    throw_usage("{}{}: 'decode' must be a map of every, keep or ratio, inner, found {}", place,
                name, given->describe());
  }
  const Params params = Params::read(*given, cut_params(), name + ": decode");
  CutRule rule;
  rule.every = params.integer("every");
  const bool by_ratio = !params.is_null("ratio");
  if (by_ratio && params.given("keep")) {
    throw_usage("{}{}: decode: 'keep' and 'ratio' both say how many rows stay: leave one out",
                place, name);
  }
  if (by_ratio) {
    rule.ratio = params.number("ratio");
  } else {
    rule.keep = params.integer("keep");
  }
  std::string reason = no_repeat, cutter = name;
  if (!params.is_null("inner")) {
    InnerPolicy inner = read_inner_policy(params.value("inner"), name, "decode.inner");
    const bool same = format_value(inner.canonical) == format_value(own);
    reason = inner.no_repeat;
    cutter = format_value(inner.canonical);
    if (!same) rule.inner = std::move(inner);
  }
  if (!reason.empty()) {
    throw_usage(
        "{}{}: decode: {} cannot cut back while tokens come: {}; give decode an 'inner' policy "
        "that "
        "can, such as knorm",
        place, name, cutter, reason);
  }
  rule.canonical.kind = Value::Kind::kMap;
  rule.canonical.place = given->place;
  const auto add = [&](const char* key, Value value) {
    rule.canonical.entries.emplace_back(key, std::move(value));
  };
  add("every", Value::of(static_cast<double>(rule.every)));
  if (by_ratio) add("ratio", Value::of(rule.ratio));
  if (!by_ratio) add("keep", Value::of(static_cast<double>(rule.keep)));
  if (rule.inner) add("inner", rule.inner->canonical);
  return rule;
}

std::shared_ptr<const RepeatedCut> make_repeated_cut(
    const CutRule& rule, const EvictionRules& outer,
    const std::function<EvictionPtr(EvictionRules rules)>& own) {
  EvictionRules rules = outer;
  rules.ratio = 0;
  rules.repeated = true;
  auto cut = std::make_shared<RepeatedCut>();
  cut->every = rule.every;
  cut->keep = rule.keep;
  cut->ratio = rule.ratio;
  cut->policy = rule.inner ? rule.inner->make(rules, 0) : own(std::move(rules));
  return cut;
}

}  // namespace kv
