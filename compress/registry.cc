// The list of methods, and how a spec becomes a plan.
#include "compress/registry.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "compress/cut_rules.h"
#include "compress/inner.h"
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
      h2o_method(),
      streaming_rolling_method(),
      infllm_method(),
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

void add_step_ratio(Method& method, const std::string& doc, std::vector<std::string> instead_of) {
  ParamSpec spec = number_param("ratio", "null", doc, 0, 1);
  spec.below_max = true;
  method.info.params.insert(method.info.params.begin(), std::move(spec));
  method.instead_of_ratio = std::move(instead_of);
  method.nominal_ratio = [](const Params& params) { return step_ratio(params).value_or(0); };
}

std::optional<double> step_ratio(const Params& params) {
  if (params.is_null("ratio")) return std::nullopt;
  return params.number("ratio");
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
  if (method.is_eviction()) {
    table = leading_params(method.default_positions, method.has_ratio);
    for (ParamSpec& spec : cut_rule_params()) table.push_back(std::move(spec));
  }
  table.insert(table.end(), method.info.params.begin(), method.info.params.end());
  if (method.is_eviction()) {
    for (ParamSpec& spec : trailing_params()) table.push_back(std::move(spec));
  }
  return table;
}

// Left out, the parameter is 0.
void make_optional(std::vector<ParamSpec>& table, const std::string& name) {
  for (ParamSpec& spec : table) {
    if (spec.name != name) continue;
    spec.required = false;
    spec.default_text = std::string("0");
  }
}

// `protect` and `ties` are printed only where they say something.
std::vector<std::string> left_out(const Method& method, const Params& params) {
  std::vector<std::string> keys;
  if (method.acts_at_every_step() && !params.is_null("ratio")) return method.instead_of_ratio;
  if (!method.is_eviction()) return keys;
  const Value& protect = params.value("protect");
  if (protect.is_list() && protect.items.empty()) keys.push_back("protect");
  if (params.string("ties") == "position") keys.push_back("ties");
  return keys;
}

// `ratio` of a method that acts at every step, beside what it stands for.
void refuse_both(const Method& method, const Params& params, const Value& term) {
  if (params.is_null("ratio")) return;
  for (const std::string& key : method.instead_of_ratio) {
    if (!params.given(key)) continue;
    throw_usage("{}{}: 'ratio' sets {} by itself; give 'ratio' or '{}'", place_prefix(term),
                method.info.name, fmt::join(method.instead_of_ratio, ", "), key);
  }
}

struct BuiltTerm {
  std::string canonical;
  double ratio = 0;
  PolicyPtr policy;
  CodecPtr codec;
  std::shared_ptr<const RepeatedCut> decode, prefill;
  int64_t budget_bytes = 0;
  StepPtr step;

  bool is_none() const { return policy == nullptr && codec == nullptr && step == nullptr; }
};

void build_eviction(const Method& method, const Params& params,
                    const std::optional<InnerPolicy>& inner, const CutRules& cuts,
                    const std::string& folder, BuiltTerm& built) {
  EvictionRules outer = read_rules(params, method.has_ratio);
  outer.spec = built.canonical;
  outer.scoring = format_value(canonical_term(method, params));
  outer.folder = folder;
  const auto make = [&](EvictionRules rules) {
    if (inner) {
      rules.make_inner = [inner, rules](double ratio) { return inner->make(rules, ratio); };
    }
    return method.make_policy(params, std::move(rules));
  };
  if (cuts.decode) built.decode = make_repeated_cut(*cuts.decode, outer, make);
  if (cuts.prefill) built.prefill = make_repeated_cut(*cuts.prefill, outer, make);
  built.budget_bytes = cuts.budget_bytes;
  // The one cut after the prompt is then told its rows as well.
  outer.repeated = cuts.budget_bytes > 0 && !cuts.prefill;
  built.policy = make(std::move(outer));
}

BuiltTerm build_term(ResolvedTerm term, const std::string& folder) {
  const Method& method = *term.method;
  std::optional<InnerPolicy> inner;
  if (method.takes_inner) inner = read_inner(term);
  std::vector<ParamSpec> table = with_defaults_of(term, table_of(method));
  if (method.is_eviction() && has_cut_rules(term)) make_optional(table, "ratio");
  Params params = Params::read(term.params, table, method.info.name);
  CutRules cuts;
  if (method.is_eviction()) {
    const std::string& reason =
        method.no_repeat.empty() && inner ? inner->no_repeat : method.no_repeat;
    cuts = read_cut_rules(term, canonical_term(method, params), reason);
    params = Params::read(term.params, table, method.info.name);
  }
  BuiltTerm built;
  const std::string printed = params.canonical(left_out(method, params));
  built.canonical = printed.empty() ? method.info.name : method.info.name + "(" + printed + ")";
  if (method.is_eviction()) {
    build_eviction(method, params, inner, cuts, folder, built);
    if (method.has_ratio) built.ratio = params.number("ratio");
  } else if (method.make_transform != nullptr) {
    built.policy = method.make_transform(params, built.canonical);
  } else if (method.is_codec()) {
    built.codec = method.make_codec(params, built.canonical);
  } else if (method.acts_at_every_step()) {
    refuse_both(method, params, term.params);
    built.step = method.make_step(params, built.canonical);
  }
  if (method.nominal_ratio != nullptr) built.ratio = method.nominal_ratio(params);
  return built;
}

void append(std::string& list, const std::string& word) {
  list += (list.empty() ? "" : "+") + word;
}

// Rows go one by one while tokens come, so they must be stored so.
void check_cuts(const CompressionPlan& plan, const Value& place) {
  const RepeatedCut* cut = plan.decode ? plan.decode.get() : plan.prefill.get();
  if (cut == nullptr) return;
  if ((plan.prefill || plan.budget_bytes > 0) && plan.policies.size() > 1) {
    throw_usage(
        "{}{} and {}: 'prefill' and 'budget_bytes' leave no moment at which another policy could "
        "choose; expected one policy",
        place_prefix(place), plan.policies[0]->spec(), plan.policies[1]->spec());
  }
  for (const PolicyPtr& policy : plan.policies) {
    if (policy->positions() != Positions::kCanary) continue;
    throw_usage(
        "{}{}: positions=canary is kv-canary's cache, which never cuts while decoding; expected "
        "original or contiguous beside cuts that repeat",
        place_prefix(place), policy->spec());
  }
  if (plan.codec == nullptr) return;
  const bool residual = plan.codec->keeps_residual();
  if (!residual && !plan.codec->codes_blocks()) return;
  throw_usage(
      "{}{} cannot be stored by {}: {}, so single rows cannot leave while tokens come; expected "
      "a codec that stores every row by itself, such as int4, or none of 'decode', 'prefill' and "
      "'budget_bytes'",
      place_prefix(place), cut->policy->spec(), plan.codec->spec(),
      residual ? "its groups of codes span tokens" : "the tokens of a block share their scales");
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

// A method that acts at every step stands alone: it decides with every token what the next query
// sees, so that there is no moment at which another policy could choose, and rows that leave and
// enter one by one can only be stored as plain numbers.
void check_alone(const CompressionPlan& plan, const Value& place) {
  if (plan.step == nullptr) return;
  if (!plan.policies.empty()) {
    throw_usage(
        "{}{} acts at every step and {} once, after the prompt: they cannot work on the same rows; "
        "expected one of them alone",
        place_prefix(place), plan.step->spec, plan.policies[0]->spec());
  }
  const std::string codec = plan.codec != nullptr ? plan.codec->spec() : "f32";
  if (codec != "f32" && codec != "f16" && codec != "bf16") {
    throw_usage(
        "{}{} cannot be stored by {}: its rows leave and enter one by one at every step; expected "
        "f32, f16, bf16 or no codec",
        place_prefix(place), plan.step->spec, codec);
  }
}

void take_step(CompressionPlan& plan, StepPtr step, const Value& place) {
  if (plan.step != nullptr) {
    throw_usage("{}{} and {} both act at every step; expected one of them", place_prefix(place),
                plan.step->spec, step->spec);
  }
  plan.step = std::move(step);
}

// who: the term, for messages.
void take_cuts(CompressionPlan& plan, BuiltTerm& built, const std::string& who) {
  if (!built.decode && !built.prefill) return;
  if (plan.decode || plan.prefill) {
    throw_usage(
        "{} is the second policy with 'decode' or 'prefill': only one can cut while tokens "
        "come",
        who);
  }
  plan.decode = std::move(built.decode);
  plan.prefill = std::move(built.prefill);
  plan.budget_bytes = built.budget_bytes;
}

CompressorSpec build_spec(const std::vector<Value>& terms, const std::string& folder) {
  CompressorSpec spec;
  bool masks = false;
  for (const Value& term : terms) {
    const ResolvedTerm resolved = resolve_term(term);
    const std::string& name = resolved.method->info.name;
    if (spec.plan.codec != nullptr) {
      throw_usage("{}'{}' stands behind the codec '{}': a spec ends with its only codec",
                  place_prefix(term), name, spec.plan.codec->spec());
    }
    BuiltTerm built = build_term(resolved, folder);
    if (built.is_none()) continue;  // none leaves all as it is
    append(spec.canonical, built.canonical);
    append(spec.short_name, name);
    // One policy's ratio stays as written, free of the rounding of 1 - (1 - ratio).
    const bool first = spec.plan.policies.empty() && spec.plan.step == nullptr;
    spec.ratio = first ? built.ratio : 1 - (1 - spec.ratio) * (1 - built.ratio);
    take_cuts(spec.plan, built, place_prefix(term) + "'" + name + "'");
    masks |= resolved.method->make_transform != nullptr;
    if (masks && spec.plan.decode != nullptr) {
      throw_usage("{}'{}' masks channels of the prompt's keys alone: not together with 'decode'",
                  place_prefix(term), name);
    }
    if (built.policy != nullptr) spec.plan.policies.push_back(std::move(built.policy));
    if (built.step != nullptr) take_step(spec.plan, std::move(built.step), term);
    spec.plan.codec = std::move(built.codec);
  }
  if (!terms.empty()) {
    check_positions(spec.plan, terms.back());
    check_narrow_keys(spec.plan, terms.back());
    check_cuts(spec.plan, terms.back());
    check_alone(spec.plan, terms.back());
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
