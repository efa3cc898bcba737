#include "engine/arch/common.h"

#include <cmath>

#include "engine/error.h"

namespace kv {
namespace {

constexpr double kDefaultTheta =
    10000.0;  // of all architectures here, where a config leaves it out

double positive(const ConfigReader& reader, const char* key, double value) {
  if (!(value > 0) || !std::isfinite(value)) reader.fail(key, "a positive number");
  return value;
}

void refuse_partial_rotary(const ConfigReader& reader) {
  if (reader.number_or("partial_rotary_factor", 1.0) != 1.0) {
    reader.unsupported("partial_rotary_factor", "rotating only a part of each head");
  }
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

}  // namespace

RopeConfig read_rope(const ConfigReader& reader, int max_position) {
  refuse_partial_rotary(reader);
  RopeConfig config;
  config.theta = positive(reader, "rope_theta", reader.number_or("rope_theta", kDefaultTheta));
  const std::optional<ConfigReader> rope = rope_object(reader);
  if (!rope) return config;
  refuse_partial_rotary(*rope);
  for (const char* key : {"full_attention", "sliding_attention"}) {
    if (rope->has(key)) rope->unsupported(key, "RoPE that differs between layers");
  }
  config.theta = positive(*rope, "rope_theta", rope->number_or("rope_theta", config.theta));
  const std::string type = rope->string_or("rope_type", rope->string_or("type", "default"));
  if (type == "default") return config;
  if (type == "linear") {
    config.type = RopeType::kLinear;
    config.factor = positive(*rope, "factor", rope->required_number("factor"));
    return config;
  }
  if (type != "llama3" && type != "yarn") {
    rope->unsupported(rope->has("rope_type") ? "rope_type" : "type",
                      fmt::format("'{}' (default, linear, llama3 and yarn are)", type));
  }
  // As in transformers: the config's own key wins, then RoPE's, then the trained length.
  config.original_max_position =
      reader.count_or("original_max_position_embeddings",
                      rope->count_or("original_max_position_embeddings", max_position));
  if (type == "llama3") {
    read_llama3(*rope, &config);
  } else {
    if (!rope->has("factor") && !rope->has("original_max_position_embeddings") &&
        !reader.has("original_max_position_embeddings")) {
      rope->fail("factor", "a number (or original_max_position_embeddings)");
    }
    read_yarn(*rope, max_position, &config);
  }
  return config;
}

ModelConfig read_common_config(const ConfigReader& reader) {
  ModelConfig config;
  config.vocab = reader.required_count("vocab_size");
  config.dim = reader.required_count("hidden_size");
  config.hidden_dim = reader.required_count("intermediate_size");
  config.n_layers = reader.required_count("num_hidden_layers");
  config.n_heads = reader.required_count("num_attention_heads");
  // Checkpoints from before grouped-query attention do not have the key: one KV head for each query
  // head.
  config.n_kv_heads = reader.count_or("num_key_value_heads", config.n_heads);
  if (!reader.has("head_dim") && config.dim % config.n_heads != 0) {
    throw_data(
        "{}: hidden_size {} is no multiple of num_attention_heads {} and head_dim is missing",
        reader.place(), config.dim, config.n_heads);
  }
  config.head_dim = reader.count_or("head_dim", config.dim / config.n_heads);
  config.rotary_dim = config.head_dim;
  config.max_position = reader.required_count("max_position_embeddings");
  config.rms_eps =
      static_cast<float>(positive(reader, "rms_norm_eps", reader.required_number("rms_norm_eps")));
  config.tied_embeddings = reader.bool_or("tie_word_embeddings", false);
  const std::vector<int> bos = reader.ids("bos_token_id");
  if (bos.size() > 1) reader.fail("bos_token_id", "one token id");
  if (!bos.empty()) config.bos_id = bos[0];
  config.eos_ids = reader.ids("eos_token_id");
  config.rope = read_rope(reader, config.max_position);
  const std::string activation = reader.string_or("hidden_act", "silu");
  if (activation != "silu") {
    reader.unsupported("hidden_act", fmt::format("'{}' (silu is)", activation));
  }
  if (reader.has("quantization_config")) {
    reader.unsupported("quantization_config",
                       "a checkpoint with quantised weights (GGUF files are)");
  }
  return config;
}

void refuse_sliding_layers(const ConfigReader& reader) {
  if (reader.bool_or("use_sliding_window", false)) {
    reader.unsupported("use_sliding_window", "sliding-window attention");
  }
  for (const std::string& type : reader.strings("layer_types")) {
    if (type != "full_attention") {
      reader.unsupported("layer_types", fmt::format("'{}' (full_attention is)", type));
    }
  }
}

void check_model_config(const ModelConfig& config, const std::string& place) {
  if (config.n_heads % config.n_kv_heads != 0) {
    throw_data("{}: the number of query heads, {}, is no multiple of the number of KV heads, {}",
               place, config.n_heads, config.n_kv_heads);
  }
  if (config.head_dim % 2 != 0) {
    throw_data("{}: head_dim {} is odd; RoPE needs pairs of channels", place, config.head_dim);
  }
  constexpr int kMostLayers = 4096;
  if (config.n_layers > kMostLayers) {
    throw_data("{}: {} layers are beyond what this program handles ({})", place, config.n_layers,
               kMostLayers);
  }
  // Products of sizes are taken as int by the kernels; real models are far below.
  for (const int64_t product : {static_cast<int64_t>(config.n_heads) * config.head_dim * 3,
                                static_cast<int64_t>(config.hidden_dim) * 2}) {
    if (product > (1 << 24)) {
      throw_data("{}: a layer of {} columns is beyond what this program handles ({})", place,
                 product, 1 << 24);
    }
  }
}

}  // namespace kv
