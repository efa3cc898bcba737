// What the architectures share: reading the usual keys, RoPE, refusals.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "engine/arch/config_reader.h"
#include "engine/model_config.h"

namespace kv {

// Sizes, activation, embeddings and token ids under the keys that most decoders use. Leaves head_dim to
// the config: dim / n_heads where it is not given. activation: where the config names none.
ModelConfig read_sizes(const ConfigReader& reader, const char* activation_key,
                       const std::string& activation);

// read_sizes, the RMS norm's epsilon and RoPE over whole heads: what Llama and its kin share. Biases,
// qk_norm and layers are the caller's.
ModelConfig read_common_config(const ConfigReader& reader);

// bos_token_id and eos_token_id.
void read_special_ids(const ConfigReader& reader, ModelConfig* config);

// A positive number of layers that a model may have.
int read_layers(const ConfigReader& reader, const char* key);

// Refuses checkpoints with quantization_config.
void refuse_quantized(const ConfigReader& reader);

// The activation under a key of the config, or `fallback` where it names none.
Activation read_activation(const ConfigReader& reader, const char* key,
                           const std::string& fallback);

// rope_parameters (transformers 5) or rope_theta and rope_scaling (older). Unknown types and keys
// that would change the angles are refused. Fills rope, position_limit and, by
// partial_rotary_factor, rotary_dim.
void read_rope(const ConfigReader& reader, ModelConfig* config);

// The same from one object, which may be missing, with the theta of configs that give none.
RopeConfig read_rope_object(const ConfigReader& reader, const std::optional<ConfigReader>& rope,
                            double default_theta, ModelConfig* config);

// Which layers have a sliding window: layer_types, or where the config has none (slides)(layer). The
// window's size is sliding_window, or default_window where the key is absent (0: required).
void read_windows(const ConfigReader& reader, const std::function<bool(int)>& slides,
                  int default_window, ModelConfig* config);

// Every layer has the config's sliding window where there is one, as in Mistral: a number, null for
// none, or default_window where the key is absent (0: none).
void read_one_window(const ConfigReader& reader, int default_window, ModelConfig* config);

// Qwen 2 and 3: layers from max_window_layers on slide where use_sliding_window says so.
void read_qwen_windows(const ConfigReader& reader, ModelConfig* config);

// What must hold between the sizes of any model: heads divide, head_dim is even, … place: for
// messages.
void check_model_config(const ModelConfig& config, const std::string& place);

}  // namespace kv
