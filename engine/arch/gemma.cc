// Gemma 2 and Gemma 3 (text): norms that multiply by 1 + w before and after attention and MLP, scaled
// embeddings, sliding and full layers. Gemma 2 caps scores and logits; Gemma 3 norms q and k per head and
// rotates its sliding layers by a second base.
#include <cmath>

#include "engine/arch/common.h"
#include "engine/arch/registry.h"
#include "engine/error.h"

namespace kv {
namespace {

constexpr double kDefaultTheta = 10000.0;          // Gemma 2, and Gemma 3's sliding layers
constexpr double kDefaultGlobalTheta = 1000000.0;  // Gemma 3's full layers

double cap(const ConfigReader& reader, const char* key) {
  return reader.has(key) ? reader.required_positive(key) : 0.0;
}

ModelConfig read_gemma_config(const ConfigReader& reader) {
  // transformers would take 256, not dim / n_heads, where the key is absent; every checkpoint has it.
  reader.required_count("head_dim");
  if (reader.bool_or("use_bidirectional_attention", false)) {
    reader.unsupported("use_bidirectional_attention", "attention to later tokens");
  }
  ModelConfig config = read_sizes(reader, "hidden_activation", "gelu_pytorch_tanh");
  config.norm_eps = static_cast<float>(reader.required_positive("rms_norm_eps"));
  config.norm_plus_one = config.norm_after = true;
  config.embedding_scale = std::sqrt(static_cast<double>(config.dim));
  config.attention_scale = 1.0 / std::sqrt(reader.required_positive("query_pre_attn_scalar"));
  config.attention_softcap = cap(reader, "attn_logit_softcapping");
  config.logit_softcap = cap(reader, "final_logit_softcapping");
  config.qkv_bias = config.o_bias = reader.bool_or("attention_bias", false);
  config.tied_embeddings = reader.bool_or("tie_word_embeddings", true);
  return config;
}

// {"full_attention": {…}, "sliding_attention": {…}}, or the keys of older configs.
void read_gemma3_rope(const ConfigReader& reader, ModelConfig* config) {
  const auto theta = [&](const char* key, double fallback) {
    return reader.has(key) ? reader.required_positive(key) : fallback;
  };
  std::optional<ConfigReader> full = reader.object("rope_scaling"), sliding;
  if (const auto both = reader.object("rope_parameters"); both && !full) {
    full = both->object("full_attention");
    sliding = both->object("sliding_attention");
    if (!full && !sliding) {
      both->fail("full_attention", "an object for each of full_attention and sliding_attention");
    }
  }
  config->rope = read_rope_object(reader, full, theta("rope_theta", kDefaultGlobalTheta), config);
  config->sliding_rope =
      read_rope_object(reader, sliding, theta("rope_local_base_freq", kDefaultTheta), config);
  for (LayerConfig& layer : config->layers) {
    if (layer.window > 0) layer.rope = LayerRope::kSliding;
  }
}

}  // namespace

ModelConfig read_gemma2_config(const ConfigReader& reader) {
  ModelConfig config = read_gemma_config(reader);
  for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    // transformers takes 50 and 30 where they are absent; null means none.
    if (!reader.written(key)) reader.fail(key, "a number or null");
  }
  read_windows(
      reader, [](int l) { return l % 2 == 0; }, 0, &config);
  read_rope(reader, &config);
  return config;
}

ModelConfig read_gemma3_config(const ConfigReader& reader) {
  ModelConfig config = read_gemma_config(reader);
  config.qk_norm = QkNorm::kHead;
  const int pattern = reader.count_or("sliding_window_pattern", 6);
  read_windows(
      reader, [&](int l) { return (l + 1) % pattern != 0; }, 0, &config);
  read_gemma3_rope(reader, &config);
  return config;
}

}  // namespace kv
