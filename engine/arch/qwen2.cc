// Qwen 2 and 2.5: Llama's layers with a bias on q, k and v (never on the output projection).
#include "engine/arch/common.h"
#include "engine/arch/registry.h"

namespace kv {

ModelConfig read_qwen2_config(const ConfigReader& reader) {
  ModelConfig config = read_common_config(reader);
  read_qwen_windows(reader, &config);
  config.qkv_bias = true;
  return config;
}

}  // namespace kv
