#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "engine/chat_template.h"
#include "engine/error.h"
#include "engine/model.h"
#include "engine/tokenizer/tokenizer.h"
#include "runner/memory_plan.h"
#include "runner/resolve_model.h"
#include "runner/verbs.h"

namespace kv {
namespace {

std::string mebibytes(double bytes) {
  return fmt::format("{:.1f} MiB", bytes / (1024.0 * 1024.0));
}

// Which layers have a window, which no RoPE.
void print_layers(const ModelConfig& c) {
  int window = 0, without_rope = 0;
  for (const LayerConfig& layer : c.layers) {
    window = std::max(window, layer.window);
    without_rope += layer.rope == LayerRope::kNone ? 1 : 0;
  }
  if (window > 0) {
    const bool own_rope = std::any_of(c.layers.begin(), c.layers.end(), [](const LayerConfig& l) {
      return l.rope == LayerRope::kSliding;
    });
    fmt::print("sliding layers    {} of {}, {} tokens{}\n", c.n_sliding_layers(), c.n_layers,
               window,
               own_rope ? fmt::format(", rope {} theta {:g}", rope_type_name(c.sliding_rope.type),
                                      c.sliding_rope.theta)
                        : "");
  }
  if (without_rope > 0) fmt::print("layers, no rope   {} of {}\n", without_rope, c.n_layers);
}

// What the model has beyond a Llama's layers.
std::string extras_of(const ModelConfig& c) {
  std::vector<std::string> extras;
  if (c.qkv_bias) extras.push_back("qkv_bias");
  if (c.o_bias) extras.push_back("o_bias");
  if (c.mlp_bias) extras.push_back("mlp_bias");
  if (c.qk_norm == QkNorm::kHead) extras.push_back("qk_norm");
  if (c.qk_norm == QkNorm::kProjection) extras.push_back("qk_norm over all heads");
  if (c.parallel_residual) extras.push_back("parallel residual");
  const auto number = [&](const char* name, double value, double usual) {
    if (value != usual) extras.push_back(fmt::format("{} {:g}", name, value));
  };
  number("embedding scale", c.embedding_scale, 1.0);
  number("attention scale", c.query_scale(),
         static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.head_dim))));
  number("attention softcap", c.attention_softcap, 0.0);
  number("residual scale", c.residual_scale, 1.0);
  number("logit scale", c.logit_scale, 1.0);
  number("logit softcap", c.logit_softcap, 0.0);
  return fmt::format("{}", fmt::join(extras, ", "));
}

void print_shapes(const ModelHeader& header) {
  const ModelConfig& c = header.config;
  fmt::print("location          {}\n", header.location.string());
  fmt::print("architecture      {}\n", c.architecture);
  fmt::print("parameters        {} ({:.1f} M)\n", header.n_parameters,
             static_cast<double>(header.n_parameters) / 1e6);
  fmt::print("stored as         {}, {} bytes ({})\n", header.stored_dtype, header.weight_bytes,
             mebibytes(static_cast<double>(header.weight_bytes)));
  fmt::print("layers            {}\n", c.n_layers);
  fmt::print("dim               {}, MLP {}\n", c.dim, c.hidden_dim);
  fmt::print("heads             {} query, {} key/value, head_dim {}\n", c.n_heads, c.n_kv_heads,
             c.head_dim);
  fmt::print("vocabulary        {}{}\n", c.vocab, c.tied_embeddings ? ", tied embeddings" : "");
  if (c.rotary_dim > 0) {
    fmt::print("rope              {}, theta {:g}, {} of {} channels\n", rope_type_name(c.rope.type),
               c.rope.theta, c.rotary_dim, c.head_dim);
  } else {
    fmt::print("rope              none, {} learned positions\n", c.learned_positions);
  }
  fmt::print("positions         {}\n", c.max_position);
  if (c.position_limit > 0)
    fmt::print("at most           {} tokens: {}\n", c.position_limit, c.position_limit_reason);
  fmt::print("norm              {}{}, epsilon {:g}\n",
             c.norm == Norm::kLayer ? "LayerNorm with bias" : "RMS",
             c.norm_before ? c.norm_after ? " before and after" : "" : " after", c.norm_eps);
  fmt::print("MLP               {}{}\n", activation_name(c.activation),
             c.gated_mlp ? ", gated" : "");
  print_layers(c);
  const std::string extras = extras_of(c);
  fmt::print("extras            {}\n", extras.empty() ? "none" : extras);
  fmt::print("end of text       {}\n", fmt::join(c.eos_ids, " "));
  const auto bytes = [&](int64_t n) { return full_cache_bytes(c, n, 2); };
  fmt::print("KV cache          {} bytes per token at 16 bits, {} for 1024 tokens, {} for 8192\n",
             int64_t{4} * c.n_layers * c.n_kv_heads * c.head_dim,
             mebibytes(static_cast<double>(bytes(1024))),
             mebibytes(static_cast<double>(bytes(8192))));
}

void print_weights(const Model& model) {
  fmt::print("in memory         {} bytes ({})\n", model.weight_bytes,
             mebibytes(static_cast<double>(model.weight_bytes)));
  fmt::print("weights hash      {}\n", model.weights_hash);
  if (!model.tokenizer) {
    fmt::print("tokenizer         none\n");
  } else {
    fmt::print("tokenizer         {} ids, hash {}\n", model.tokenizer->vocab_size(),
               model.tokenizer->hash());
  }
  if (!model.chat_template) {
    fmt::print("chat template     none\n");
    return;
  }
  const std::string text =
      model.chat_template->render({{"user", "What is a key-value cache?"}}, true);
  fmt::print("chat template     one user message renders as\n----\n{}\n----\n", text);
}

}  // namespace

int verb_inspect(const std::string& name) {
  const std::filesystem::path location = resolve_model(name, ".");
  print_shapes(read_model_header(location));
  print_weights(*Model::load(location));
  return 0;
}

}  // namespace kv
