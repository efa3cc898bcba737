// One method as the registry knows it. Each file of a method defines one function that returns such
// an entry.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "compress/eviction.h"
#include "compress/registry.h"

namespace kv {

struct Method {
  MethodInfo info;
  std::string default_positions = "original";  // eviction policies
  // How a kvpress class name is read: parameters whose default is another one there, {ours,
  // default}, and kvpress's names for ours, {kvpress's, ours}; `compression_ratio` is `ratio`.
  std::vector<std::pair<std::string, std::string>> kvpress_defaults;
  std::vector<std::pair<std::string, std::string>> kvpress_keys;

  bool has_ratio = true;     // eviction policies: takes `ratio`
  bool takes_inner = false;  // eviction policies: has a parameter `inner`, another policy
  bool can_be_inner = true;  // eviction policies: its scores are what decides
  // Eviction policies: why it cannot cut again and again while tokens come; empty: it can.
  std::string no_repeat;

  // One of the four is set; none for `none`. Called with checked parameters.
  std::function<EvictionPtr(const Params& params, EvictionRules rules)> make_policy;
  // A policy that removes no rows.
  std::function<PolicyPtr(const Params& params, const std::string& spec)> make_transform;
  std::function<CodecPtr(const Params& params, const std::string& spec)> make_codec;
  // A method that acts at every step.
  std::function<StepPtr(const Params& params, const std::string& spec)> make_step;
  std::vector<std::string> instead_of_ratio = {};  // its parameters that `ratio` stands for
  // Share of the cache removed, for reports; where not set: `ratio`, or 0 without one.
  std::function<double(const Params& params)> nominal_ratio;

  bool is_codec() const { return make_codec != nullptr; }
  bool is_eviction() const { return make_policy != nullptr; }
  bool acts_at_every_step() const { return make_step != nullptr; }
};

// Short forms for parameter tables.
ParamSpec integer_param(const std::string& name, const std::string& default_text,
                        const std::string& doc, double min, double max = 1e300);
ParamSpec number_param(const std::string& name, const std::string& default_text,
                       const std::string& doc, double min, double max = 1e300);
ParamSpec choice_param(const std::string& name, const std::string& default_text,
                       const std::string& doc, std::vector<std::string> choices);
ParamSpec bool_param(const std::string& name, const std::string& default_text,
                     const std::string& doc);
ParamSpec file_param(const std::string& name, const std::string& doc);  // required
ParamSpec inner_param(const std::string& default_text);                 // `inner`, the first one

// A file that a spec names, from its folder.
std::string file_in(const std::string& folder, const std::string& file);

// Gives a method that acts at every step a parameter `ratio`, its first one: optional, and then in the
// place of those named. step_ratio: what was given. Reports call 0 what was not, unless the method says.
void add_step_ratio(Method& method, const std::string& doc, std::vector<std::string> instead_of);
std::optional<double> step_ratio(const Params& params);

ParamSpec scales_param();  // scales=f16|f32 of the published codecs

Method none_method();
Method random_method();
Method knorm_method();
Method snapkv_method();
Method expected_attention_method();
Method streamingllm_method();
Method tova_method();
Method keydiff_method();
Method lagkv_method();
Method cur_method();
Method observed_attention_method();
Method pyramidkv_method();
Method finch_method();
Method qfilter_method();
Method cap_method();
Method non_causal_attention_method();
Method simlayerkv_method();
Method kvzip_method();
Method think_method();
Method adakv_method();
Method criticalkv_method();
Method criticaladakv_method();
Method chunkkv_method();
Method entropy_chunkkv_method();
Method chunk_method();
Method block_method();
Method per_layer_method();
Method merging_method();
Method lukv_method();
Method canary_streamingllm_method();
Method canary_snapkv_method();
Method h2o_method();
Method streaming_rolling_method();
Method infllm_method();
Method f32_method();
Method f16_method();
Method bf16_method();
Method int8_method();
Method int4_method();
Method int2_method();
Method absmax8_method();
Method absmax4_method();
Method absmax2_method();
Method kivi4_method();
Method kivi2_method();
Method flexgen4_method();
Method quanto4_method();
Method quanto2_method();
Method hqq8_method();
Method hqq4_method();
Method hqq3_method();
Method hqq2_method();
Method hqq1_method();

const std::vector<Method>& methods();  // registry order

}  // namespace kv
