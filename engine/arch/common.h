// What the architectures share: reading the usual keys, RoPE, refusals.
#pragma once

#include <string>

#include "engine/arch/config_reader.h"
#include "engine/model_config.h"

namespace kv {

// Sizes, norms, embeddings and token ids that every decoder here spells alike. Fills everything but
// rope, biases, qk_norm, and leaves head_dim to the config: dim / n_heads where it is not given.
ModelConfig read_common_config(const ConfigReader& reader);

// rope_parameters (transformers 5) or rope_theta and rope_scaling (older). Unknown types and keys
// that would change the angles are refused.
RopeConfig read_rope(const ConfigReader& reader, int max_position);

// Refuses a Qwen config whose layers use sliding-window attention.
void refuse_sliding_layers(const ConfigReader& reader);

// What must hold between the sizes of any model: heads divide, head_dim is even, … place: for
// messages.
void check_model_config(const ModelConfig& config, const std::string& place);

}  // namespace kv
