#include "engine/arch/tensor_names.h"

#include <fmt/format.h>

namespace kv {

namespace {

// Names that all with Llama's module tree share; `own` fills in the others.
TensorNames like_llama(TensorNames own) {
  own.embedding = "model.embed_tokens";
  own.final_norm = "model.norm";
  own.lm_head = "lm_head";
  own.q = "model.layers.{}.self_attn.q_proj";
  own.k = "model.layers.{}.self_attn.k_proj";
  own.v = "model.layers.{}.self_attn.v_proj";
  own.q_norm = "model.layers.{}.self_attn.q_norm";
  own.k_norm = "model.layers.{}.self_attn.k_norm";
  own.o = "model.layers.{}.self_attn.o_proj";
  own.gate = "model.layers.{}.mlp.gate_proj";
  own.up = "model.layers.{}.mlp.up_proj";
  own.down = "model.layers.{}.mlp.down_proj";
  own.derived = {"rotary_emb.inv_freq"};
  return own;
}

constexpr const char* kInputNorm = "model.layers.{}.input_layernorm";
constexpr const char* kPostAttentionNorm = "model.layers.{}.post_attention_layernorm";
constexpr const char* kPostMlpNorm = "model.layers.{}.post_feedforward_layernorm";

}  // namespace

const TensorNames kLlamaNames =
    like_llama({.attention_norm = kInputNorm, .mlp_norm = kPostAttentionNorm});

const TensorNames kGemma2Names =
    like_llama({.attention_norm = kInputNorm,
                .attention_post_norm = kPostAttentionNorm,
                .mlp_norm = "model.layers.{}.pre_feedforward_layernorm",
                .mlp_post_norm = kPostMlpNorm});

const TensorNames kOlmo2Names =
    like_llama({.attention_post_norm = kPostAttentionNorm, .mlp_post_norm = kPostMlpNorm});

// Slices of fused tensors go by the names that Llama gives such modules.
const TensorNames kPhi3Names =
    like_llama({.attention_norm = kInputNorm,
                .mlp_norm = kPostAttentionNorm,
                .fused = {{"model.layers.{}.self_attn.qkv_proj",
                           {"model.layers.{}.self_attn.q_proj", "model.layers.{}.self_attn.k_proj",
                            "model.layers.{}.self_attn.v_proj"}},
                          {"model.layers.{}.mlp.gate_up_proj",
                           {"model.layers.{}.mlp.gate_proj", "model.layers.{}.mlp.up_proj"}}}});

const TensorNames kGptNeoxNames = {
    .embedding = "gpt_neox.embed_in",
    .final_norm = "gpt_neox.final_layer_norm",
    .lm_head = "embed_out",
    .attention_norm = "gpt_neox.layers.{}.input_layernorm",
    .q = "gpt_neox.layers.{}.attention.query",
    .k = "gpt_neox.layers.{}.attention.key",
    .v = "gpt_neox.layers.{}.attention.value",
    .o = "gpt_neox.layers.{}.attention.dense",
    .mlp_norm = "gpt_neox.layers.{}.post_attention_layernorm",
    .up = "gpt_neox.layers.{}.mlp.dense_h_to_4h",
    .down = "gpt_neox.layers.{}.mlp.dense_4h_to_h",
    .fused = {{"gpt_neox.layers.{}.attention.query_key_value",
               {"gpt_neox.layers.{}.attention.query", "gpt_neox.layers.{}.attention.key",
                "gpt_neox.layers.{}.attention.value"},
               true}},
    .derived = {"rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"},
};

const TensorNames kGpt2Names = {
    .embedding = "transformer.wte",
    .positions = "transformer.wpe",
    .final_norm = "transformer.ln_f",
    .lm_head = "lm_head",
    .attention_norm = "transformer.h.{}.ln_1",
    .q = "transformer.h.{}.attn.q",
    .k = "transformer.h.{}.attn.k",
    .v = "transformer.h.{}.attn.v",
    .o = "transformer.h.{}.attn.c_proj",
    .mlp_norm = "transformer.h.{}.ln_2",
    .up = "transformer.h.{}.mlp.c_fc",
    .down = "transformer.h.{}.mlp.c_proj",
    .fused = {{"transformer.h.{}.attn.c_attn",
               {"transformer.h.{}.attn.q", "transformer.h.{}.attn.k", "transformer.h.{}.attn.v"}}},
    .transposed = true,
    .prefix = "transformer.",
    .derived = {".attn.bias", ".attn.masked_bias"},
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
  const auto norm = [&](const std::string& name, int64_t n) {
    vector(name, n);
    if (config.norm == Norm::kLayer) result.push_back({name + ".bias", {n}});
  };
  const auto matrix = [&](const std::string& name, int64_t n_out, int64_t n_in, bool bias) {
    result.push_back({name + ".weight", {n_out, n_in}});
    if (bias) result.push_back({name + ".bias", {n_out}});
  };
  matrix(names.embedding, config.vocab, dim, false);
  if (config.learned_positions > 0) matrix(names.positions, config.learned_positions, dim, false);
  for (int layer = 0; layer < config.n_layers; ++layer) {
    const auto at = [&](const char* pattern) { return tensor_name(pattern, layer); };
    if (config.norm_before) {
      norm(at(names.attention_norm), dim);
      norm(at(names.mlp_norm), dim);
    }
    if (config.norm_after) {
      norm(at(names.attention_post_norm), dim);
      norm(at(names.mlp_post_norm), dim);
    }
    matrix(at(names.q), q_dim, dim, config.qkv_bias);
    matrix(at(names.k), kv_dim, dim, config.qkv_bias);
    matrix(at(names.v), kv_dim, dim, config.qkv_bias);
    if (config.qk_norm != QkNorm::kNone) {
      const bool heads = config.qk_norm == QkNorm::kHead;
      vector(at(names.q_norm), heads ? config.head_dim : q_dim);
      vector(at(names.k_norm), heads ? config.head_dim : kv_dim);
    }
    matrix(at(names.o), dim, q_dim, config.o_bias);
    if (config.gated_mlp) matrix(at(names.gate), hidden, dim, config.mlp_bias);
    matrix(at(names.up), hidden, dim, config.mlp_bias);
    matrix(at(names.down), dim, hidden, config.mlp_bias);
  }
  norm(names.final_norm, dim);
  if (!config.tied_embeddings) matrix(names.lm_head, config.vocab, dim, false);
  return result;
}

}  // namespace kv
