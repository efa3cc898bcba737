#include "engine/arch/tensor_names.h"

#include <fmt/format.h>

namespace kv {

const TensorNames kLlamaNames = {
    .embedding = "model.embed_tokens",
    .final_norm = "model.norm",
    .lm_head = "lm_head",
    .attention_norm = "model.layers.{}.input_layernorm",
    .q = "model.layers.{}.self_attn.q_proj",
    .k = "model.layers.{}.self_attn.k_proj",
    .v = "model.layers.{}.self_attn.v_proj",
    .q_norm = "model.layers.{}.self_attn.q_norm",
    .k_norm = "model.layers.{}.self_attn.k_norm",
    .o = "model.layers.{}.self_attn.o_proj",
    .mlp_norm = "model.layers.{}.post_attention_layernorm",
    .gate = "model.layers.{}.mlp.gate_proj",
    .up = "model.layers.{}.mlp.up_proj",
    .down = "model.layers.{}.mlp.down_proj",
};

std::string tensor_name(const char* pattern, int layer) {
  return fmt::format(fmt::runtime(pattern), layer);
}

std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config, const TensorNames& names) {
  const int64_t dim = config.dim, hidden = config.hidden_dim;
  const int64_t q_dim = static_cast<int64_t>(config.n_heads) * config.head_dim;
  const int64_t kv_dim = static_cast<int64_t>(config.n_kv_heads) * config.head_dim;
  std::vector<ExpectedTensor> result;
  const auto vector = [&](const std::string& name, int64_t n) {
    result.push_back({name + ".weight", {n}});
  };
  const auto matrix = [&](const std::string& name, int64_t n_out, int64_t n_in, bool bias) {
    result.push_back({name + ".weight", {n_out, n_in}});
    if (bias) result.push_back({name + ".bias", {n_out}});
  };
  matrix(names.embedding, config.vocab, dim, false);
  for (int layer = 0; layer < config.n_layers; ++layer) {
    vector(tensor_name(names.attention_norm, layer), dim);
    matrix(tensor_name(names.q, layer), q_dim, dim, config.qkv_bias);
    matrix(tensor_name(names.k, layer), kv_dim, dim, config.qkv_bias);
    matrix(tensor_name(names.v, layer), kv_dim, dim, config.qkv_bias);
    if (config.qk_norm) {
      vector(tensor_name(names.q_norm, layer), config.head_dim);
      vector(tensor_name(names.k_norm, layer), config.head_dim);
    }
    matrix(tensor_name(names.o, layer), dim, q_dim, config.o_bias);
    vector(tensor_name(names.mlp_norm, layer), dim);
    matrix(tensor_name(names.gate, layer), hidden, dim, config.mlp_bias);
    matrix(tensor_name(names.up, layer), hidden, dim, config.mlp_bias);
    matrix(tensor_name(names.down, layer), dim, hidden, config.mlp_bias);
  }
  vector(names.final_norm, dim);
  if (!config.tied_embeddings) matrix(names.lm_head, config.vocab, dim, false);
  return result;
}

}  // namespace kv
