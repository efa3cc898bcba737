// GPT-2 and distilgpt2: LayerNorm with bias, a table of learned positions, a plain MLP.
#include "engine/arch/common.h"
#include "engine/arch/registry.h"
#include "engine/error.h"

namespace kv {
namespace {

constexpr int kHiddenTimes = 4;  // width of the MLP where n_inner is null

void refuse_other_attention(const ConfigReader& reader) {
  if (!reader.bool_or("scale_attn_weights", true)) {
    reader.unsupported("scale_attn_weights", "attention without 1 / sqrt(head_dim)");
  }
  if (reader.bool_or("scale_attn_by_inverse_layer_idx", false)) {
    reader.unsupported("scale_attn_by_inverse_layer_idx", "a scale for each layer");
  }
  if (reader.bool_or("add_cross_attention", false)) {
    reader.unsupported("add_cross_attention", "attention to an encoder");
  }
}

}  // namespace

ModelConfig read_gpt2_config(const ConfigReader& reader) {
  ModelConfig config;
  config.vocab = reader.required_count("vocab_size");
  config.dim = reader.required_count("n_embd");
  if (config.dim > INT32_MAX / kHiddenTimes) reader.fail("n_embd", "a smaller number");
  config.hidden_dim = reader.count_or("n_inner", kHiddenTimes * config.dim);
  config.n_layers = read_layers(reader, "n_layer");
  config.n_heads = config.n_kv_heads = reader.required_count("n_head");
  if (config.dim % config.n_heads != 0) {
    throw_data("{}: n_embd {} is no multiple of n_head {}", reader.place(), config.dim,
               config.n_heads);
  }
  config.head_dim = config.dim / config.n_heads;
  config.learned_positions = config.max_position = reader.required_count("n_positions");
  config.position_limit = config.learned_positions;
  config.position_limit_reason = "it has a learned vector for each position and no more of them";
  config.norm = Norm::kLayer;
  config.norm_eps = static_cast<float>(reader.required_positive("layer_norm_epsilon"));
  config.activation = read_activation(reader, "activation_function", "gelu_new");
  config.qkv_bias = config.o_bias = config.mlp_bias = true;
  config.gated_mlp = false;
  config.tied_embeddings = reader.bool_or("tie_word_embeddings", true);
  read_special_ids(reader, &config);
  refuse_quantized(reader);
  refuse_other_attention(reader);
  return config;
}

}  // namespace kv
