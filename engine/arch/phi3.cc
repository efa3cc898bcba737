// Phi-3 and Phi-3.5 (dense): Llama's layers with fused projections, RoPE over a part of each head, two
// sets of frequencies (longrope) for short and long texts.
#include "engine/arch/common.h"
#include "engine/arch/registry.h"

namespace kv {

ModelConfig read_phi3_config(const ConfigReader& reader) {
  ModelConfig config = read_sizes(reader, "hidden_act", "silu");
  config.norm_eps = static_cast<float>(reader.required_positive("rms_norm_eps"));
  read_rope(reader, &config);
  read_one_window(reader, 0, &config);
  return config;
}

}  // namespace kv
