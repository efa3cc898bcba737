// The architectures that can be loaded. README.md says how to add one.
#pragma once

#include <string>
#include <vector>

#include "engine/arch/config_reader.h"
#include "engine/arch/tensor_names.h"
#include "engine/model_config.h"

namespace kv {

struct Architecture {
  std::string name;  // architectures[0] of config.json
  std::string
      gguf_name;    // general.architecture of GGUF files; "": such files come under another name
  std::string doc;  // one line for `kvengine list models`
  // config.json -> ModelConfig; refuses what the forward pass would not compute.
  ModelConfig (*read_config)(const ConfigReader& reader);
  const TensorNames* tensors;  // how its files spell the weights
};

const std::vector<Architecture>& architectures();

// Throw Error(kData) with the names that are known. place: for messages.
const Architecture& architecture_named(const std::string& name, const std::string& place);
const Architecture& architecture_of_gguf(const std::string& gguf_name, const std::string& place);

// One function for each architecture.
ModelConfig read_gemma2_config(const ConfigReader& reader);
ModelConfig read_gemma3_config(const ConfigReader& reader);
ModelConfig read_gpt2_config(const ConfigReader& reader);
ModelConfig read_gpt_neox_config(const ConfigReader& reader);
ModelConfig read_granite_config(const ConfigReader& reader);
ModelConfig read_llama_config(const ConfigReader& reader);
ModelConfig read_mistral_config(const ConfigReader& reader);
ModelConfig read_olmo2_config(const ConfigReader& reader);
ModelConfig read_phi3_config(const ConfigReader& reader);
ModelConfig read_qwen2_config(const ConfigReader& reader);
ModelConfig read_qwen3_config(const ConfigReader& reader);
ModelConfig read_smollm3_config(const ConfigReader& reader);

}  // namespace kv
