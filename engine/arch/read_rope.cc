#include <algorithm>
#include <cmath>

#include "engine/arch/common.h"
#include "engine/error.h"

namespace kv {
namespace {

constexpr double kDefaultTheta =
    10000.0;  // of all architectures here, where a config leaves it out

double positive(const ConfigReader& reader, const char* key, double value) {
  if (!(value > 0) || !std::isfinite(value)) reader.fail(key, "a positive number");
  return value;
}

void read_llama3(const ConfigReader& rope, RopeConfig* config) {
  config->type = RopeType::kLlama3;
  config->factor = positive(rope, "factor", rope.required_number("factor"));
  config->low_freq_factor =
      positive(rope, "low_freq_factor", rope.required_number("low_freq_factor"));
  config->high_freq_factor =
      positive(rope, "high_freq_factor", rope.required_number("high_freq_factor"));
  if (config->high_freq_factor <= config->low_freq_factor) {
    rope.fail("high_freq_factor", "a number above low_freq_factor");
  }
}

void read_yarn(const ConfigReader& rope, int max_position, RopeConfig* config) {
  config->type = RopeType::kYarn;
  // transformers: an explicit null means the ratio of the two lengths.
  const double ratio = static_cast<double>(max_position) / config->original_max_position;
  config->factor = positive(rope, "factor", rope.number_or("factor", ratio));
  // 0 counts as absent in transformers (`or`), so it does here.
  const double fast = rope.number_or("beta_fast", 0), slow = rope.number_or("beta_slow", 0);
  config->beta_fast = fast == 0 ? 32.0 : positive(rope, "beta_fast", fast);
  config->beta_slow = slow == 0 ? 1.0 : positive(rope, "beta_slow", slow);
  if (rope.has("attention_factor")) {
    config->attention_factor =
        positive(rope, "attention_factor", rope.required_number("attention_factor"));
  }
  config->mscale = rope.number_or("mscale", 0.0);
  config->mscale_all_dim = rope.number_or("mscale_all_dim", 0.0);
  config->truncate = rope.bool_or("truncate", true);
}

// The object that describes scaling: transformers prefers the old key where both are there.
std::optional<ConfigReader> rope_object(const ConfigReader& reader) {
  auto old_spelling = reader.object("rope_scaling");
  return old_spelling ? old_spelling : reader.object("rope_parameters");
}

// Phi-3: each frequency has a divisor, another one for long texts.
void read_longrope(const ConfigReader& reader, const ConfigReader& rope, RopeConfig* config,
                   ModelConfig* model) {
  config->type = RopeType::kLongrope;
  const std::vector<double> divisors = rope.numbers("short_factor");
  const bool all_positive = std::all_of(divisors.begin(), divisors.end(),
                                        [](double d) { return d > 0 && std::isfinite(d); });
  if (static_cast<int>(divisors.size()) != model->rotary_dim / 2 || !all_positive) {
    rope.fail("short_factor", fmt::format("a list of {} positive numbers", model->rotary_dim / 2));
  }
  config->short_factors.assign(divisors.begin(), divisors.end());
  if (!reader.has("original_max_position_embeddings") &&
      !rope.has("original_max_position_embeddings")) {
    rope.fail("original_max_position_embeddings", "a positive integer");
  }
  const double ratio = static_cast<double>(model->max_position) / config->original_max_position;
  config->factor = positive(rope, "factor", rope.number_or("factor", ratio));
  if (rope.has("attention_factor")) {
    config->attention_factor =
        positive(rope, "attention_factor", rope.required_number("attention_factor"));
  }
  if (model->max_position <= config->original_max_position) return;
  model->position_limit = config->original_max_position;
  model->position_limit_reason =
      "its RoPE (longrope) has other angles for longer texts, which keys that are cached already "
      "would need too";
}

}  // namespace

RopeConfig read_rope_object(const ConfigReader& reader, const std::optional<ConfigReader>& rope,
                            double default_theta, ModelConfig* model) {
  RopeConfig config;
  config.theta = default_theta;
  if (!rope) return config;
  config.theta = positive(*rope, "rope_theta", rope->number_or("rope_theta", config.theta));
  std::string type = rope->string_or("rope_type", rope->string_or("type", "default"));
  if (type == "su") type = "longrope";  // its first name
  if (type == "default") return config;
  if (type == "linear") {
    config.type = RopeType::kLinear;
    config.factor = positive(*rope, "factor", rope->required_number("factor"));
    return config;
  }
  if (type == "dynamic") {
    config.type = RopeType::kDynamic;
    config.factor = positive(*rope, "factor", rope->required_number("factor"));
    model->position_limit = model->max_position;
    model->position_limit_reason =
        "its RoPE (dynamic) has other angles for every longer length, which keys that are cached "
        "already would need too";
    return config;
  }
  if (type != "llama3" && type != "yarn" && type != "longrope") {
    rope->unsupported(
        rope->has("rope_type") ? "rope_type" : "type",
        fmt::format("'{}' (default, linear, llama3, yarn, dynamic and longrope are)", type));
  }
  // As in transformers: the config's own key wins, then RoPE's, then the trained length.
  config.original_max_position =
      reader.count_or("original_max_position_embeddings",
                      rope->count_or("original_max_position_embeddings", model->max_position));
  if (type == "llama3") {
    read_llama3(*rope, &config);
  } else if (type == "longrope") {
    read_longrope(reader, *rope, &config, model);
  } else {
    if (!rope->has("factor") && !rope->has("original_max_position_embeddings") &&
        !reader.has("original_max_position_embeddings")) {
      rope->fail("factor", "a number (or original_max_position_embeddings)");
    }
    read_yarn(*rope, model->max_position, &config);
  }
  return config;
}

void read_rope(const ConfigReader& reader, ModelConfig* config) {
  const std::optional<ConfigReader> rope = rope_object(reader);
  const double theta =
      positive(reader, "rope_theta", reader.number_or("rope_theta", kDefaultTheta));
  double share = reader.number_or("partial_rotary_factor", 1.0);
  if (rope) {
    for (const char* key : {"full_attention", "sliding_attention"}) {
      if (rope->has(key)) rope->unsupported(key, "RoPE that differs between layers");
    }
    const double own = rope->number_or("partial_rotary_factor", share);
    const bool plain =
        rope->string_or("rope_type", rope->string_or("type", "default")) == "default";
    // transformers takes the one or the other, by the type.
    if (own != share && reader.has("partial_rotary_factor") && !plain) {
      rope->fail("partial_rotary_factor", fmt::format("{}, as beside it in the config", share));
    }
    share = own;
  }
  const bool is_share = share > 0 && share <= 1;
  config->rotary_dim = is_share ? static_cast<int>(config->head_dim * share) : 0;
  if (share == 1.0) {  // check_model_config says what is wrong with an odd head_dim
    config->rope = read_rope_object(reader, rope, theta, config);
    return;
  }
  if (config->rotary_dim < 2 || config->rotary_dim % 2 != 0) {
    (rope && rope->has("partial_rotary_factor") ? *rope : reader)
        .fail(
            "partial_rotary_factor",
            fmt::format("a share of the {} channels of a head that makes pairs", config->head_dim));
  }
  config->rope = read_rope_object(reader, rope, theta, config);
}

}  // namespace kv
