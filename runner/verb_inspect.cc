#include <cstdio>

#include "engine/chat_template.h"
#include "engine/error.h"
#include "engine/model.h"
#include "engine/tokenizer/tokenizer.h"
#include "runner/resolve_model.h"
#include "runner/verbs.h"

namespace kv {
namespace {

std::string mebibytes(double bytes) {
  return fmt::format("{:.1f} MiB", bytes / (1024.0 * 1024.0));
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
  fmt::print("rope              {}, theta {:g}, {} of {} channels\n", rope_type_name(c.rope.type),
             c.rope.theta, c.rotary_dim, c.head_dim);
  fmt::print("positions         {}\n", c.max_position);
  fmt::print("norm epsilon      {:g}\n", c.rms_eps);
  std::string extras;
  if (c.qkv_bias) extras += " qkv_bias";
  if (c.o_bias) extras += " o_bias";
  if (c.mlp_bias) extras += " mlp_bias";
  if (c.qk_norm) extras += " qk_norm";
  fmt::print("extras           {}\n", extras.empty() ? " none" : extras);
  fmt::print("end of text       {}\n", fmt::join(c.eos_ids, " "));
  const int64_t values = int64_t{2} * c.n_layers * c.n_kv_heads * c.head_dim;
  fmt::print("KV cache          {} bytes per token at 16 bits, {} for 1024 tokens\n", values * 2,
             mebibytes(static_cast<double>(values) * 2 * 1024));
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
