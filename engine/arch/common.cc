#include "engine/arch/common.h"

#include "engine/error.h"

namespace kv {
namespace {

void check_layers(int n_layers, const std::string& place) {
  constexpr int kMost = 4096;
  if (n_layers > kMost) {
    throw_data("{}: {} layers are beyond what this program handles ({})", place, n_layers, kMost);
  }
}

}  // namespace

int read_layers(const ConfigReader& reader, const char* key) {
  const int n_layers = reader.required_count(key);
  check_layers(n_layers, reader.place());
  return n_layers;
}

void read_special_ids(const ConfigReader& reader, ModelConfig* config) {
  const std::vector<int> bos = reader.ids("bos_token_id");
  if (bos.size() > 1) reader.fail("bos_token_id", "one token id");
  if (!bos.empty()) config->bos_id = bos[0];
  config->eos_ids = reader.ids("eos_token_id");
}

void refuse_quantized(const ConfigReader& reader) {
  if (reader.has("quantization_config")) {
    reader.unsupported("quantization_config",
                       "a checkpoint with quantised weights (GGUF files are)");
  }
}

Activation read_activation(const ConfigReader& reader, const char* key,
                           const std::string& fallback) {
  const std::string name = reader.string_or(key, fallback);
  if (name == "silu") return Activation::kSilu;
  if (name == "gelu") return Activation::kGeluErf;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::kGeluTanh;
  reader.unsupported(key,
                     fmt::format("'{}' (silu, gelu, gelu_new and gelu_pytorch_tanh are)", name));
}

ModelConfig read_sizes(const ConfigReader& reader, const char* activation_key,
                       const std::string& activation) {
  ModelConfig config;
  config.vocab = reader.required_count("vocab_size");
  config.dim = reader.required_count("hidden_size");
  config.hidden_dim = reader.required_count("intermediate_size");
  config.n_layers = read_layers(reader, "num_hidden_layers");
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
  config.tied_embeddings = reader.bool_or("tie_word_embeddings", false);
  read_special_ids(reader, &config);
  config.activation = read_activation(reader, activation_key, activation);
  refuse_quantized(reader);
  return config;
}

ModelConfig read_common_config(const ConfigReader& reader) {
  ModelConfig config = read_sizes(reader, "hidden_act", "silu");
  config.norm_eps = static_cast<float>(reader.required_positive("rms_norm_eps"));
  read_rope(reader, &config);
  if (config.rotary_dim != config.head_dim) {
    reader.unsupported("partial_rotary_factor", "rotating only a part of each head");
  }
  return config;
}

void check_model_config(const ModelConfig& config, const std::string& place) {
  if (config.n_heads % config.n_kv_heads != 0) {
    throw_data("{}: the number of query heads, {}, is no multiple of the number of KV heads, {}",
               place, config.n_heads, config.n_kv_heads);
  }
  if (config.rotary_dim > 0 && config.head_dim % 2 != 0) {
    throw_data("{}: head_dim {} is odd; RoPE needs pairs of channels", place, config.head_dim);
  }
  if (config.activation == Activation::kSilu && !config.gated_mlp) {
    throw_data("{}: an MLP with silu and without a gate is not supported", place);
  }
  check_layers(config.n_layers, place);
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
