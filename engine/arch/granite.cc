// Granite 3 (dense): Llama's layers with a factor on embeddings, attention scores, what each layer adds,
// and logits.
#include "engine/arch/common.h"
#include "engine/arch/registry.h"

namespace kv {

ModelConfig read_granite_config(const ConfigReader& reader) {
  ModelConfig config = read_common_config(reader);
  config.embedding_scale = reader.required_positive("embedding_multiplier");
  config.attention_scale = reader.required_positive("attention_multiplier");
  config.residual_scale = reader.required_positive("residual_multiplier");
  config.logit_scale = 1.0 / reader.required_positive("logits_scaling");
  config.qkv_bias = config.o_bias = reader.bool_or("attention_bias", false);
  config.mlp_bias = reader.bool_or("mlp_bias", false);
  return config;
}

}  // namespace kv
