#include "compress/names.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "engine/error.h"

namespace kv {
namespace {

// kvpress classes that are no method of their own here.
constexpr std::array<std::array<const char*, 2>, 5> kOtherSpellings = {{
    {"KeyRerotation", "positions=contiguous on the policy itself"},
    {"Composed", "'+' between the policies"},
    {"Decoding", "'decode' on the policy itself"},
    {"CompressionRatioDecoding", "'decode' on the policy itself"},
    {"PrefillDecoding", "'decode' on the policy itself"},
}};

std::string place_prefix(const Value& value, const Value& term) {
  const std::string& place = value.place.empty() ? term.place : value.place;
  return place.empty() ? "" : place + ": ";
}

std::string without_press(const std::string& name) {
  constexpr std::string_view kSuffix = "Press";
  const bool has = name.size() > kSuffix.size() && name.ends_with(kSuffix);
  return has ? name.substr(0, name.size() - kSuffix.size()) : name;
}

[[noreturn]] void throw_unknown(const Value& name, const Value& term) {
  const std::string place = place_prefix(name, term);
  const std::string class_name = without_press(name.text);
  for (const auto& [other, ours] : kOtherSpellings) {
    if (class_name == other)
      throw_usage("{}'{}' is no method here; write {}", place, name.text, ours);
  }
  std::vector<std::string> known = {"full"};
  for (const Method& method : methods()) {
    known.push_back(method.info.name);
    if (!method.info.kvpress_name.empty()) known.push_back(method.info.kvpress_name);
  }
  throw_usage("{}unknown method '{}'{}; `kvengine list compressors` shows all", place, name.text,
              did_you_mean(name.text, known));
}

// {method: quantized, budget: b} is int8, int4 or int2 by bits = 16 * b.
std::string quantized_name(const Value* budget, const Value& name, const Value& term) {
  if (budget == nullptr) {
    throw_usage("{}'quantized' needs a 'budget' (share of memory KEPT): 0.5, 0.25 or 0.125",
                place_prefix(name, term));
  }
  const double bits = budget->is_number() ? 16 * budget->number : 0;
  if (bits != 8 && bits != 4 && bits != 2) {
    throw_usage(
        "{}'budget' of 'quantized' must be 0.5 (int8), 0.25 (int4) or 0.125 (int2), found {}",
        place_prefix(*budget, term), budget->describe());
  }
  return fmt::format("int{}", static_cast<int>(bits));
}

const Method* find_method(const std::string& name, bool& is_class_name) {
  const std::string class_name = without_press(name);
  for (const Method& method : methods()) {
    is_class_name = !method.info.kvpress_name.empty() && class_name == method.info.kvpress_name;
    if (name == method.info.name || is_class_name) return &method;
  }
  return nullptr;
}

// 1 - budget as people mean it: 0.1, not 0.09999999999999998, where budget is 0.9.
double ratio_of_budget(double budget) {
  return parse_number(fmt::format("{:.12g}", 1.0 - budget)).value();
}

void check_budget(const Value& budget, const Value& term) {
  if (budget.is_number() && budget.number > 0 && budget.number <= 1) return;
  throw_usage("{}'budget' must be a number in (0, 1], the share KEPT, found {}",
              place_prefix(budget, term), budget.describe());
}

std::string our_key(const std::string& key, const ResolvedTerm& resolved) {
  if (!resolved.kvpress_defaults) return key;
  if (key == "compression_ratio") return "ratio";
  for (const auto& [theirs, ours] : resolved.method->kvpress_keys) {
    if (key == theirs) return ours;
  }
  return key;
}

void copy_params(const Value& term, bool drop_budget, ResolvedTerm& out) {
  out.params.kind = Value::Kind::kMap;
  out.params.place = term.place;
  for (const auto& [key, value] : term.entries) {
    if (key == "name" || key == "method" || (drop_budget && key == "budget")) continue;
    std::string name = our_key(key, out);
    Value converted = value;
    if (key == "budget" && out.method->is_eviction()) {
      check_budget(value, term);
      name = "ratio";
      converted.number = ratio_of_budget(value.number);
    }
    if (out.params.find(name) != nullptr) {
      throw_usage("{}'{}' says '{}' a second time: leave one out", place_prefix(value, term), key,
                  name);
    }
    out.params.entries.emplace_back(std::move(name), std::move(converted));
  }
}

}  // namespace

ResolvedTerm resolve_term(const Value& term) {
  const auto& [key, written] = term.entries.front();
  const Value* budget = term.find("budget");
  std::string name = written.text;
  bool drop_budget = false;
  if (name == "full") {
    name = "none";
    if (budget != nullptr && !(budget->is_number() && budget->number == 1)) {
      throw_usage("{}'full' keeps everything: its 'budget' can only be 1, found {}",
                  place_prefix(*budget, term), budget->describe());
    }
    drop_budget = true;
  } else if (name == "quantized") {
    name = quantized_name(budget, written, term);
    drop_budget = true;
  }
  ResolvedTerm out;
  out.method = find_method(name, out.kvpress_defaults);
  if (out.method == nullptr) throw_unknown(written, term);
  copy_params(term, drop_budget, out);
  return out;
}

std::vector<ParamSpec> with_defaults_of(const ResolvedTerm& term, std::vector<ParamSpec> table) {
  if (!term.kvpress_defaults) return table;
  for (const auto& [name, text] : term.method->kvpress_defaults) {
    for (ParamSpec& spec : table) {
      if (spec.name == name) spec.default_text = text;
    }
  }
  return table;
}

}  // namespace kv
