// OLMo 2: no norm before attention and MLP but one after each, and an RMS norm over all q and over all k
// channels before RoPE.
#include "engine/arch/common.h"
#include "engine/arch/registry.h"

namespace kv {

ModelConfig read_olmo2_config(const ConfigReader& reader) {
  ModelConfig config = read_common_config(reader);
  config.norm_before = false;
  config.norm_after = true;
  config.qk_norm = QkNorm::kProjection;
  config.qkv_bias = config.o_bias = reader.bool_or("attention_bias", false);
  return config;
}

}  // namespace kv
