#include "engine/arch/registry.h"

#include "engine/error.h"

namespace kv {

const std::vector<Architecture>& architectures() {
  static const std::vector<Architecture> kList = {
      {"LlamaForCausalLM", "llama", "Llama 1 to 3, SmolLM2 and their kin", read_llama_config,
       &kLlamaNames},
      {"MistralForCausalLM", "", "Mistral without an active sliding window", read_mistral_config,
       &kLlamaNames},
      {"Qwen2ForCausalLM", "qwen2", "Qwen 2 and 2.5: q, k and v with bias", read_qwen2_config,
       &kLlamaNames},
      {"Qwen3ForCausalLM", "qwen3", "Qwen 3, dense: q and k normed per head", read_qwen3_config,
       &kLlamaNames},
  };
  return kList;
}

const Architecture& architecture_named(const std::string& name, const std::string& place) {
  std::string known;
  for (const Architecture& architecture : architectures()) {
    if (architecture.name == name) return architecture;
    known += (known.empty() ? "" : ", ") + architecture.name;
  }
  throw_data("{}: architectures: '{}' is not supported; known are {}", place, name, known);
}

const Architecture& architecture_of_gguf(const std::string& gguf_name, const std::string& place) {
  std::string known;
  for (const Architecture& architecture : architectures()) {
    if (architecture.gguf_name.empty()) continue;
    if (architecture.gguf_name == gguf_name) return architecture;
    known += (known.empty() ? "" : ", ") + architecture.gguf_name;
  }
  throw_data("{}: general.architecture: '{}' is not supported; known are {}", place, gguf_name,
             known);
}

}  // namespace kv
