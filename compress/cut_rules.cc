#include "compress/cut_rules.h"

#include <utility>

#include "engine/error.h"

namespace kv {
namespace {

std::string place_of(const Value& value, const Value& outer) {
  const std::string& place = value.place.empty() ? outer.place : value.place;
  return place.empty() ? "" : place + ": ";
}

ParamSpec any_param(const std::string& name, const std::string& doc) {
  ParamSpec spec;
  spec.name = name;
  spec.type = ParamSpec::Type::kAny;
  spec.default_text = "null";
  spec.doc = doc;
  return spec;
}

// Under budget_bytes the rows kept follow from it, and cuts come once a page is full.
std::vector<ParamSpec> rule_params(bool with_inner, bool by_budget) {
  std::vector<ParamSpec> table = {
      integer_param("every", by_budget ? "32" : "512", "tokens from one cut to the next", 1)};
  if (!by_budget) {
    table.push_back(integer_param("keep", "2048", "rows of each KV head that a cut leaves", 1));
    table.push_back(
        number_param("ratio", "null", "instead of keep: share of all tokens so far", 0, 1));
    table.back().below_max = true;
  }
  if (with_inner) {
    table.push_back(inner_param("null"));
    table.back().doc = "the policy that cuts; the same with the same parameters unless given";
  }
  return table;
}

void put(Value& map, const std::string& key, const Value& value) {
  map.kind = Value::Kind::kMap;
  for (auto& [name, old] : map.entries) {
    if (name != key) continue;
    old = value;
    return;
  }
  map.entries.emplace_back(key, value);
}

// Reads the rules of one term.
class Reader {
 public:
  Reader(const ResolvedTerm& term, const Value& own, const std::string& no_repeat)
      : term_(term), own_(own), no_repeat_(no_repeat), name_(term.method->info.name) {}

  const Value* given(const char* key) const {
    const Value* value = term_.params.find(key);
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  int64_t budget() const {
    const Value* value = given("budget_bytes");
    if (value == nullptr) return 0;
    const Params params =
        Params::read(term_.params, {cut_rule_params().back()}, name_, other_keys("budget_bytes"));
    return static_cast<int64_t>(params.number("budget_bytes"));
  }

  CutRule rule(const char* key, const Value& value, bool by_budget) const {
    const std::string place = place_of(value, term_.params);
    const bool with_inner = std::string(key) == "decode";
    if (!value.is_map() || value.find("name") != nullptr) {
      throw_usage("{}{}: '{}' must be a map of every, keep or ratio{}, found {}", place, name_, key,
                  with_inner ? ", inner" : "", value.describe());
    }
    refuse_keep_beside_budget(key, value, by_budget);
    const Params params =
        Params::read(value, rule_params(with_inner, by_budget), fmt::format("{}: {}", name_, key));
    CutRule rule;
    rule.every = params.integer("every");
    if (!by_budget) read_rows(key, place, params, rule);
    std::string reason = no_repeat_, cutter = name_;
    if (with_inner && !params.is_null("inner")) {
      InnerPolicy inner = read_inner_policy(params.value("inner"), name_, "decode.inner");
      reason = inner.no_repeat;
      cutter = format_value(inner.canonical);
      if (cutter != format_value(own_)) rule.inner = std::move(inner);
    }
    if (!reason.empty()) {
      throw_usage("{}{}: {}: {} cannot cut back while tokens come: {}; {}", place, name_, key,
                  cutter, reason,
                  with_inner ? "give decode an 'inner' policy that can, such as knorm"
                             : "expected a policy that can, such as knorm");
    }
    print(value, rule);
    return rule;
  }

 private:
  std::vector<std::string> other_keys(const std::string& key) const {
    std::vector<std::string> others;
    for (const auto& [name, value] : term_.params.entries) {
      if (name != key) others.push_back(name);
    }
    return others;
  }

  void refuse_keep_beside_budget(const char* key, const Value& value, bool by_budget) const {
    for (const char* rows : {"keep", "ratio"}) {
      if (!by_budget || value.find(rows) == nullptr) continue;
      throw_usage("{}{}: {}: '{}' and 'budget_bytes' both say how many rows stay: leave one out",
                  place_of(*value.find(rows), term_.params), name_, key, rows);
    }
  }

  void read_rows(const char* key, const std::string& place, const Params& params,
                 CutRule& rule) const {
    const bool by_ratio = !params.is_null("ratio");
    if (by_ratio && params.given("keep")) {
      throw_usage("{}{}: {}: 'keep' and 'ratio' both say how many rows stay: leave one out", place,
                  name_, key);
    }
    if (by_ratio) {
      rule.ratio = params.number("ratio");
    } else {
      rule.keep = params.integer("keep");
    }
  }

  static void print(const Value& given, CutRule& rule) {
    rule.canonical.kind = Value::Kind::kMap;
    rule.canonical.place = given.place;
    const auto add = [&](const char* key, Value value) {
      rule.canonical.entries.emplace_back(key, std::move(value));
    };
    add("every", Value::of(static_cast<double>(rule.every)));
    if (rule.keep > 0) add("keep", Value::of(static_cast<double>(rule.keep)));
    const bool by_ratio = given.find("ratio") != nullptr && !given.find("ratio")->is_null();
    if (by_ratio) add("ratio", Value::of(rule.ratio));
    if (rule.inner) add("inner", rule.inner->canonical);
  }

  const ResolvedTerm& term_;
  const Value& own_;
  const std::string& no_repeat_;
  const std::string& name_;
};

}  // namespace

std::vector<ParamSpec> cut_rule_params() {
  return {
      any_param("decode",
                "(every=512,keep=2048 or ratio,inner): after every that many tokens cut each KV "
                "head back"),
      any_param("prefill",
                "(every=512,keep=2048 or ratio): the same while the prompt comes, and at its end"),
      integer_param("budget_bytes", "null",
                    "instead of ratio and keep: bytes that the cache may take", 1, 9e15)};
}

bool has_cut_rules(const ResolvedTerm& term) {
  for (const char* key : {"decode", "prefill", "budget_bytes"}) {
    const Value* value = term.params.find(key);
    if (value != nullptr && !value->is_null()) return true;
  }
  return false;
}

CutRules read_cut_rules(ResolvedTerm& term, const Value& own, const std::string& no_repeat) {
  const Reader reader(term, own, no_repeat);
  CutRules rules;
  rules.budget_bytes = reader.budget();
  const bool by_budget = rules.budget_bytes > 0;
  Value every_page;  // what budget_bytes alone means
  every_page.kind = Value::Kind::kMap;
  const Value* decode = reader.given("decode");
  if (decode == nullptr && by_budget) decode = &every_page;
  if (decode != nullptr) rules.decode = reader.rule("decode", *decode, by_budget);
  if (const Value* prefill = reader.given("prefill"))
    rules.prefill = reader.rule("prefill", *prefill, by_budget);
  const std::string& name = term.method->info.name;
  if (by_budget && !no_repeat.empty()) {
    throw_usage("{}{}: budget_bytes: {} cannot be told how many rows to keep: {}",
                place_of(*reader.given("budget_bytes"), term.params), name, name, no_repeat);
  }
  const Value* ratio = term.params.find("ratio");
  if ((by_budget || rules.prefill) && ratio != nullptr && ratio->is_number() && ratio->number > 0) {
    throw_usage("{}{}: 'ratio' is what one cut after the prompt removes; beside '{}' leave it out",
                place_of(*ratio, term.params), name, by_budget ? "budget_bytes" : "prefill");
  }
  const Value* protect = reader.given("protect");
  if (by_budget && protect != nullptr && protect->is_list() && !protect->items.empty()) {
    throw_usage(
        "{}{}: 'protect' may keep more rows than 'budget_bytes' has room for: leave one out",
        place_of(*protect, term.params), name);
  }
  if (rules.decode) put(term.params, "decode", rules.decode->canonical);
  if (rules.prefill) put(term.params, "prefill", rules.prefill->canonical);
  return rules;
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
