// What the forward pass needs to know about a model: plain fields, filled by engine/arch/ from
// config.json or by engine/gguf_model.cc from GGUF metadata. Model differences are fields here,
// never the model's name in the maths.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace kv {

enum class RopeType { kDefault, kLinear, kLlama3, kYarn };

struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;            // linear, llama3, yarn
  double low_freq_factor = 1.0;   // llama3
  double high_freq_factor = 4.0;  // llama3
  int original_max_position = 0;  // tokens; llama3, yarn
  double beta_fast = 32.0;        // yarn
  double beta_slow = 1.0;         // yarn
  double attention_factor = 0.0;  // yarn: multiplies cos and sin; 0: as transformers derives it
  double mscale = 0.0;            // yarn (DeepSeek's spelling), 0: not given
  double mscale_all_dim = 0.0;    // yarn, likewise
  bool truncate = true;           // yarn: round the correction range to whole dimensions
};

struct ModelConfig {
  std::string architecture;  // "LlamaForCausalLM": as config.json's architectures[0] says
  int vocab = 0;             // rows of the embedding and of the output matrix
  int dim = 0;               // width of the residual stream
  int hidden_dim = 0;        // width of the MLP
  int n_layers = 0;
  int n_heads = 0;       // query heads
  int n_kv_heads = 0;    // key and value heads; divides n_heads
  int head_dim = 0;      // even
  int rotary_dim = 0;    // channels of a head that RoPE rotates (head_dim unless partial)
  int max_position = 0;  // tokens the model was trained for; a note, not a limit
  float rms_eps = 1e-5f;
  RopeConfig rope;
  bool qkv_bias = false;  // q, k and v projections add a bias (Qwen2; Llama's attention_bias)
  bool o_bias = false;    // the output projection too (Llama's attention_bias)
  bool mlp_bias = false;  // gate, up and down add a bias (Llama's mlp_bias)
  bool qk_norm = false;   // RMS norm over head_dim on each q and k head before RoPE (Qwen3)
  bool tied_embeddings = false;
  int bos_id = -1;           // -1: none
  std::vector<int> eos_ids;  // from generation_config.json, else config.json, else GGUF metadata

  int group() const { return n_heads / n_kv_heads; }  // query heads of one KV head
};

// config.json of a Hugging Face folder (engine/arch/ knows the architectures), and
// generation_config.json where there is one. Both spellings of transformers 4 and 5. Throws
// Error(kData) for a missing key, a value of the wrong type and everything that the forward pass
// would not compute.
ModelConfig read_model_config(const std::filesystem::path& folder);

// "default", "linear", "llama3", "yarn"
const char* rope_type_name(RopeType type);

}  // namespace kv
