// Llama 1, 2, 3.x, SmolLM2 and other checkpoints with the same layers.
#include "engine/arch/common.h"
#include "engine/arch/registry.h"

namespace kv {

ModelConfig read_llama_config(const ConfigReader& reader) {
  ModelConfig config = read_common_config(reader);
  // One key for all four attention projections, one for all three of the MLP.
  config.qkv_bias = config.o_bias = reader.bool_or("attention_bias", false);
  config.mlp_bias = reader.bool_or("mlp_bias", false);
  return config;
}

}  // namespace kv
