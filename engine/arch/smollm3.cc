// SmolLM3: Llama's layers, every fourth of them without RoPE.
#include "engine/arch/common.h"
#include "engine/arch/registry.h"
#include "engine/error.h"

namespace kv {

ModelConfig read_smollm3_config(const ConfigReader& reader) {
  ModelConfig config = read_common_config(reader);
  if (reader.bool_or("use_sliding_window", false)) {
    reader.unsupported("use_sliding_window", "a sliding window in SmolLM3");
  }
  config.tied_embeddings = reader.bool_or("tie_word_embeddings", true);
  config.qkv_bias = config.o_bias = reader.bool_or("attention_bias", false);
  config.mlp_bias = reader.bool_or("mlp_bias", false);
  // One number for each layer: 1 where it has RoPE, for all that the key says.
  const std::vector<double> listed = reader.numbers("no_rope_layers");
  const bool written = reader.has("no_rope_layers");
  if (written && static_cast<int>(listed.size()) != config.n_layers) {
    reader.fail("no_rope_layers", fmt::format("one number for each of {} layers", config.n_layers));
  }
  const int interval = reader.count_or("no_rope_layer_interval", 4);
  config.layers.resize(static_cast<size_t>(config.n_layers));
  for (int l = 0; l < config.n_layers; ++l) {
    const bool rotates = written ? listed[l] != 0 : (l + 1) % interval != 0;
    if (!rotates) config.layers[l].rope = LayerRope::kNone;
  }
  return config;
}

}  // namespace kv
