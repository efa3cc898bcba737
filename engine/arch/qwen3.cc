// Qwen 3 (dense): Llama's layers, and an RMS norm over each q and k head before RoPE.
#include "engine/arch/common.h"
#include "engine/arch/registry.h"

namespace kv {

ModelConfig read_qwen3_config(const ConfigReader& reader) {
  // transformers would take 128, not dim / n_heads, where the key is absent; every checkpoint has
  // it.
  reader.required_count("head_dim");
  ModelConfig config = read_common_config(reader);
  read_qwen_windows(reader, &config);
  config.qkv_bias = config.o_bias = reader.bool_or("attention_bias", false);
  config.qk_norm = QkNorm::kHead;
  return config;
}

}  // namespace kv
