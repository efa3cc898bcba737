// The list of methods, and how a spec becomes a plan.
#include "compress/registry.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "compress/method.h"
#include "compress/names.h"
#include "compress/spec.h"
#include "engine/error.h"

namespace kv {

const std::vector<Method>& methods() {
  static const std::vector<Method> list = {
      none_method(),
      random_method(),
      knorm_method(),
      snapkv_method(),
      expected_attention_method(),
      streamingllm_method(),
      tova_method(),
      keydiff_method(),
      lagkv_method(),
      cur_method(),
      observed_attention_method(),
      pyramidkv_method(),
      finch_method(),
      kvzip_method(),
      think_method(),
      qfilter_method(),
      cap_method(),
      non_causal_attention_method(),
      simlayerkv_method(),
      adakv_method(),
      criticalkv_method(),
      criticaladakv_method(),
      chunkkv_method(),
      entropy_chunkkv_method(),
      chunk_method(),
      block_method(),
      per_layer_method(),
      merging_method(),
      lukv_method(),
      canary_streamingllm_method(),
      canary_snapkv_method(),
      f32_method(),
      f16_method(),
      bf16_method(),
      int8_method(),
      int4_method(),
      int2_method(),
      absmax8_method(),
      absmax4_method(),
      absmax2_method(),
      kivi4_method(),
      kivi2_method(),
      flexgen4_method(),
      quanto4_method(),
      quanto2_method(),
      hqq8_method(),
      hqq4_method(),
      hqq3_method(),
      hqq2_method(),
      hqq1_method(),
  };
  return list;
}

const std::vector<MethodInfo>& all_methods() {
  static const std::vector<MethodInfo> list = [] {
    std::vector<MethodInfo> infos;
    for (const Method& method : methods()) infos.push_back(method.info);
    return infos;
  }();
  return list;
}

ParamSpec integer_param(const std::string& name, const std::string& default_text,
                        const std::string& doc, double min, double max) {
  ParamSpec spec;
  spec.name = name;
  spec.type = ParamSpec::Type::kInteger;
  spec.default_text = default_text;
  spec.doc = doc;
  spec.min = min;
  spec.max = max;
  return spec;
}

ParamSpec number_param(const std::string& name, const std::string& default_text,
                       const std::string& doc, double min, double max) {
  ParamSpec spec = integer_param(name, default_text, doc, min, max);
  spec.type = ParamSpec::Type::kNumber;
  return spec;
}

ParamSpec choice_param(const std::string& name, const std::string& default_text,
                       const std::string& doc, std::vector<std::string> choices) {
  ParamSpec spec;
  spec.name = name;
  spec.type = ParamSpec::Type::kChoice;
  spec.default_text = default_text;
  spec.doc = doc;
  spec.choices = std::move(choices);
  return spec;
}

ParamSpec bool_param(const std::string& name, const std::string& default_text,
                     const std::string& doc) {
  ParamSpec spec;
  spec.name = name;
  spec.type = ParamSpec::Type::kBool;
  spec.default_text = default_text;
  spec.doc = doc;
  return spec;
}

ParamSpec file_param(const std::string& name, const std::string& doc) {
  ParamSpec spec;
  spec.name = name;
  spec.type = ParamSpec::Type::kFile;
  spec.doc = doc;
  spec.required = true;
  return spec;
}

ParamSpec inner_param(const std::string& default_text) {
  ParamSpec spec;
  spec.name = "inner";
  spec.type = ParamSpec::Type::kAny;
  spec.default_text = default_text;
  spec.doc = "the policy whose scores are used, without ratio and positions";
  return spec;
}

std::string file_in(const std::string& folder, const std::string& file) {
  return (std::filesystem::path(folder) / file).string();
}

namespace {

std::string place_prefix(const Value& value) {
  return value.place.empty() ? "" : value.place + ": ";
}

std::vector<ParamSpec> table_of(const Method& method) {
  std::vector<ParamSpec> table;
  if (method.is_eviction()) table = leading_params(method.default_positions, method.has_ratio);
  table.insert(table.end(), method.info.params.begin(), method.info.params.end());
  if (method.is_eviction()) {
    for (ParamSpec& spec : trailing_params()) table.push_back(std::move(spec));
  }
  return table;
}

// With kvpress's defaults where its class name was written.
std::vector<ParamSpec> with_defaults_of(const ResolvedTerm& term, std::vector<ParamSpec> table) {
  if (!term.kvpress_defaults) return table;
  for (const auto& [name, text] : term.method->kvpress_defaults) {
    for (ParamSpec& spec : table) {
      if (spec.name == name) spec.default_text = text;
    }
  }
  return table;
}

// `protect` and `ties` are printed only where they say something.
std::vector<std::string> left_out(const Method& method, const Params& params) {
  std::vector<std::string> keys;
  if (!method.is_eviction()) return keys;
  const Value& protect = params.value("protect");
  if (protect.is_list() && protect.items.empty()) keys.push_back("protect");
  if (params.string("ties") == "position") keys.push_back("ties");
  return keys;
}

void refuse_planned_keys(const ResolvedTerm& term) {
  const Value* decode = term.params.find("decode");
  if (decode != nullptr && term.method->is_eviction()) {
    const Value& where = decode->place.empty() ? term.params : *decode;
    throw_usage("{}{}: 'decode' (compression while decoding) is not in this build; leave it out",
                place_prefix(where), term.method->info.name);
  }
}

// The policy inside another one: its own parameters alone, checked.
struct Inner {
  Value canonical;  // a word or a term
  std::function<EvictionPtr(const EvictionRules& outer, double ratio)> make;
};

void refuse_outer_keys(const Value& term, const std::string& outer) {
  for (const char* key :
       {"ratio", "compression_ratio", "budget", "positions", "decode", "protect", "ties"}) {
    const Value* value = term.find(key);
    if (value == nullptr) continue;
    throw_usage("{}{}: '{}' of the policy inside belongs to the outer one: write it beside 'inner'",
                place_prefix(value->place.empty() ? term : *value), outer, key);
  }
}

// The term's own parameters in canonical form: `knorm`, `snapkv(window=64,...)`.
Value canonical_term(const Method& method, const Params& params) {
  Value term;
  term.kind = Value::Kind::kMap;
  term.entries.emplace_back("name", Value::of(method.info.name));
  for (const ParamSpec& spec : method.info.params) {
    if (!params.is_null(spec.name)) term.entries.emplace_back(spec.name, params.value(spec.name));
  }
  return term.entries.size() > 1 ? term : Value::of(method.info.name);
}

// Reads `inner` of a term (or its default) and puts the canonical form in its place.
Inner read_inner(ResolvedTerm& outer) {
  const std::string& outer_name = outer.method->info.name;
  const Value* given = outer.params.find("inner");
  Value value = given != nullptr ? *given : Value::of(outer.method->info.params[0].default_text);
  if (value.place.empty()) value.place = outer.params.place;
  const std::vector<Value> terms = read_terms(value);
  if (terms.size() != 1) {
    throw_usage("{}{}: 'inner' takes one policy, found {}", place_prefix(value), outer_name,
                terms.size());
  }
  ResolvedTerm term = resolve_term(terms[0]);
  const Method& method = *term.method;
  if (!method.is_eviction() || !method.can_be_inner) {
    throw_usage("{}{}: 'inner' must be a policy that scores rows, found '{}'", place_prefix(value),
                outer_name, method.info.name);
  }
  refuse_outer_keys(terms[0], outer_name);
  std::optional<Inner> nested;
  if (method.takes_inner) nested = read_inner(term);
  const Params params =
      Params::read(term.params, with_defaults_of(term, method.info.params), method.info.name);

  Inner inner;
  inner.canonical = canonical_term(method, params);
  const std::string spec = format_value(inner.canonical);
  if (method.info.name == "finch" && params.integer("window") == 0) {
    throw_usage("{}{}: finch inside must be given its 'window', the tokens of the question",
                place_prefix(value), outer_name);
  }
  inner.make = [&method, params, spec, nested](const EvictionRules& rules, double ratio) {
    EvictionRules own;
    own.spec = spec;
    own.ratio = ratio;
    own.protect = rules.protect;
    own.ties = rules.ties;
    own.folder = rules.folder;
    if (nested) {
      own.make_inner = [nested, own](double r) { return nested->make(own, r); };
    }
    return method.make_policy(params, std::move(own));
  };
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

struct BuiltTerm {
  std::string canonical;
  double ratio = 0;
  PolicyPtr policy;
  CodecPtr codec;
};

PolicyPtr build_eviction(const Method& method, const Params& params, const std::string& spec,
                         const std::optional<Inner>& inner, const std::string& folder) {
  EvictionRules rules = read_rules(params, method.has_ratio);
  rules.spec = spec;
  rules.folder = folder;
  if (inner) rules.make_inner = [inner, rules](double ratio) { return inner->make(rules, ratio); };
  return method.make_policy(params, std::move(rules));
}

BuiltTerm build_term(ResolvedTerm term, const std::string& folder) {
  const Method& method = *term.method;
  refuse_planned_keys(term);
  std::optional<Inner> inner;
  if (method.takes_inner) inner = read_inner(term);
  const Params params =
      Params::read(term.params, with_defaults_of(term, table_of(method)), method.info.name);
  BuiltTerm built;
  const std::string printed = params.canonical(left_out(method, params));
  built.canonical = printed.empty() ? method.info.name : method.info.name + "(" + printed + ")";
  if (method.is_eviction()) {
    built.policy = build_eviction(method, params, built.canonical, inner, folder);
    if (method.has_ratio) built.ratio = params.number("ratio");
  } else if (method.make_transform != nullptr) {
    built.policy = method.make_transform(params, built.canonical);
  } else if (method.is_codec()) {
    built.codec = method.make_codec(params, built.canonical);
  }
  if (method.nominal_ratio != nullptr) built.ratio = method.nominal_ratio(params);
  return built;
}

void append(std::string& list, const std::string& word) {
  list += (list.empty() ? "" : "+") + word;
}

// Codes of rotated keys cannot be turned to another position without coding them again.
void check_positions(const CompressionPlan& plan, const Value& place) {
  if (plan.codec == nullptr || !plan.codec->stores_rotated_keys()) return;
  for (const PolicyPtr& policy : plan.policies) {
    if (policy->positions() != Positions::kContiguous) continue;
    throw_usage(
        "{}{} with positions=contiguous cannot be stored by {}: its keys are coded after RoPE and "
        "stay at their original positions; expected positions=original, or a codec with "
        "keys=pre_rope",
        place_prefix(place), policy->spec(), plan.codec->spec());
  }
}

// Keys without some of their channels are coded as any rows, but not under groups that reach over
// rows, nor where the prompt's own codes move as they are.
void check_narrow_keys(const CompressionPlan& plan, const Value& place) {
  if (plan.codec == nullptr || !(plan.codec->keeps_residual() || plan.codec->acts_on_prompt()))
    return;
  for (const PolicyPtr& policy : plan.policies) {
    if (!policy->narrows_keys()) continue;
    throw_usage(
        "{}{} leaves keys of fewer channels, which {} cannot store; expected unit=channel, or a "
        "codec that codes every row alone (int8, int4, int2, f32, f16, bf16)",
        place_prefix(place), policy->spec(), plan.codec->spec());
  }
}

CompressorSpec build_spec(const std::vector<Value>& terms, const std::string& folder) {
  CompressorSpec spec;
  for (const Value& term : terms) {
    const ResolvedTerm resolved = resolve_term(term);
    const std::string& name = resolved.method->info.name;
    if (spec.plan.codec != nullptr) {
      throw_usage("{}'{}' stands behind the codec '{}': a spec ends with its only codec",
                  place_prefix(term), name, spec.plan.codec->spec());
    }
    BuiltTerm built = build_term(resolved, folder);
    if (built.policy == nullptr && built.codec == nullptr) continue;  // none leaves all as it is
    append(spec.canonical, built.canonical);
    append(spec.short_name, name);
    // One policy's ratio stays as written, free of the rounding of 1 - (1 - ratio).
    spec.ratio =
        spec.plan.policies.empty() ? built.ratio : 1 - (1 - spec.ratio) * (1 - built.ratio);
    if (built.policy != nullptr) spec.plan.policies.push_back(std::move(built.policy));
    spec.plan.codec = std::move(built.codec);
  }
  if (!terms.empty()) {
    check_positions(spec.plan, terms.back());
    check_narrow_keys(spec.plan, terms.back());
  }
  if (spec.canonical.empty()) spec.canonical = spec.short_name = "none";
  return spec;
}

}  // namespace

std::vector<ParamSpec> all_params(const MethodInfo& info) {
  for (const Method& method : methods()) {
    if (method.info.name == info.name) return table_of(method);
  }
  KV_CHECK(false, "no method '{}'", info.name);
  return {};
}

std::vector<CompressorSpec> read_compressors(const Value& value, const std::string& base_folder) {
  std::vector<CompressorSpec> specs;
  for (const std::vector<Value>& terms : expand_ratio_lists(read_terms(value))) {
    specs.push_back(build_spec(terms, base_folder));
  }
  return specs;
}

std::vector<CompressorSpec> parse_compressors(const std::string& text, const std::string& place,
                                              const std::string& base_folder) {
  Value value = Value::of(text);
  value.place = place;
  return read_compressors(value, base_folder);
}

}  // namespace kv
