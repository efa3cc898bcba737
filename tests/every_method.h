// One spec for every method of the registry, so that a new line there is tested by being there.
#pragma once

#include <fmt/format.h>

#include <span>
#include <string>
#include <vector>

#include "compress/registry.h"
#include "engine/model_config.h"
#include "engine/safetensors_writer.h"

namespace kv::testing {

struct MethodSpec {
  std::string name, spec;
  bool removes_nothing_at_zero = false;  // with a ratio of 0
};

inline constexpr int kMethodWindow = 8;  // of every method that has a window

// A file of small numbers for methods that read one.
inline std::string tensor_file(const std::string& folder, const std::string& tensor,
                               const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (const int64_t extent : shape) n *= extent;
  std::vector<float> values(n);
  for (int64_t i = 0; i < n; ++i) values[i] = static_cast<float>(i % 17) / 17.0f;
  SafetensorsWriter writer;
  writer.add(tensor, shape, std::span<const float>(values));
  const std::string file = folder + "/" + tensor + ".safetensors";
  writer.write(file);
  return file;
}

// Parameters in which a method must differ from its defaults on a model of a few layers, with
// prompts of a few tokens; "" where there are none. ratio: share removed, where the method has it.
inline std::string method_params(const MethodInfo& info, const ModelConfig& config,
                                 const std::string& folder, double ratio) {
  std::vector<std::string> params;
  const auto has = [&](const char* name) {
    for (const ParamSpec& param : all_params(info)) {
      if (param.name == name) return true;
    }
    return false;
  };
  if (info.kind == "codec") {
    // Groups that fit small heads, and residuals that fill while a test decodes.
    if (has("residual")) return "(group=16,residual=16)";
    return has("scales") ? "(group=16)" : "";
  }
  // Methods that act at every step; `ratio` sets the rest.
  if (has("ratio") && !has("positions") && !has("unit")) return fmt::format("(ratio={})", ratio);
  if (info.name == "per_layer") {
    params.push_back(
        fmt::format("ratios=[{}]", fmt::join(std::vector<double>(config.n_layers, ratio), ",")));
  } else if (info.name == "simlayerkv") {
    params.push_back(fmt::format("threshold={},recent=20", ratio == 0 ? 1 : 0.1));
  } else if (has("ratio")) {
    params.push_back(fmt::format("ratio={}", ratio));
  }
  if (has("window") && info.name != "lukv")
    params.push_back(fmt::format("window={}", kMethodWindow));
  if (has("inner") && info.name != "block" && info.name != "lukv")
    params.push_back(fmt::format("inner=snapkv(window={})", kMethodWindow));
  if (info.name == "kvzip") {
    params.push_back(
        "chunk=60,prefix_ids=[],suffix_ids=[3],repeat_first_ids=[1],repeat_next_ids=[2]");
  }
  const auto file = [&](const char* tensor, const std::vector<int64_t>& shape) {
    return fmt::format("'{}'", tensor_file(folder, tensor, shape));
  };
  if (info.name == "qfilter") {
    params.push_back("filters=" +
                     file("q_filters", {config.n_layers, config.n_kv_heads, config.head_dim}));
  } else if (info.name == "lukv") {
    params.push_back("curves=" + file("curves", {99, config.n_layers, config.n_kv_heads}));
  }
  return params.empty() ? "" : fmt::format("({})", fmt::join(params, ","));
}

inline std::vector<MethodSpec> every_method(const ModelConfig& config, const std::string& folder,
                                            double ratio) {
  std::vector<MethodSpec> specs;
  for (const MethodInfo& info : all_methods()) {
    const std::string params = method_params(info, config, folder, ratio);
    const CompressorSpec spec = parse_compressors(info.name + params, "every_method").front();
    specs.push_back({info.name, info.name + params, !spec.plan.policies.empty()});
  }
  return specs;
}

}  // namespace kv::testing
