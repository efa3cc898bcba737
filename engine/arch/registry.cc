#include "engine/arch/registry.h"

#include "engine/error.h"

namespace kv {

const std::vector<Architecture>& architectures() {
  static const std::vector<Architecture> kList = {
      {"Gemma2ForCausalLM", "gemma2", "Gemma 2: capped scores, every other layer sliding",
       read_gemma2_config, &kGemma2Names},
      {"Gemma3ForCausalLM", "gemma3", "Gemma 3, text: five sliding layers, then a full one",
       read_gemma3_config, &kGemma2Names},
      {"GPT2LMHeadModel", "", "GPT-2 and distilgpt2: learned positions", read_gpt2_config,
       &kGpt2Names},
      {"GPTNeoXForCausalLM", "", "GPT-NeoX and Pythia: LayerNorm, partial RoPE",
       read_gpt_neox_config, &kGptNeoxNames},
      {"GraniteForCausalLM", "", "Granite 3, dense: factors on four places", read_granite_config,
       &kLlamaNames},
      {"LlamaForCausalLM", "llama", "Llama 1 to 3, SmolLM2 and their kin", read_llama_config,
       &kLlamaNames},
      {"MistralForCausalLM", "", "Mistral, with or without a sliding window", read_mistral_config,
       &kLlamaNames},
      {"Olmo2ForCausalLM", "", "OLMo 2: norms after attention and MLP", read_olmo2_config,
       &kOlmo2Names},
      {"Phi3ForCausalLM", "", "Phi-3 and Phi-3.5, dense: fused projections, longrope",
       read_phi3_config, &kPhi3Names},
      {"Qwen2ForCausalLM", "qwen2", "Qwen 2 and 2.5: q, k and v with bias", read_qwen2_config,
       &kLlamaNames},
      {"Qwen3ForCausalLM", "qwen3", "Qwen 3, dense: q and k normed per head", read_qwen3_config,
       &kLlamaNames},
      {"SmolLM3ForCausalLM", "", "SmolLM3: every fourth layer without RoPE", read_smollm3_config,
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
