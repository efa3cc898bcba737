// What the forward pass needs to know about a model: plain fields, filled by engine/arch/ from
// config.json or by engine/gguf_model.cc from GGUF metadata. Model differences are fields here,
// never the model's name in the maths.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace kv {

// kDynamic and kLongrope turn keys by angles that depend on the length of the whole text once it is
// longer than the model was first trained for; up to there they are exact, and there the program stops
// (ModelConfig::position_limit).
enum class RopeType { kDefault, kLinear, kLlama3, kYarn, kDynamic, kLongrope };

struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;            // linear, llama3, yarn
  double low_freq_factor = 1.0;   // llama3
  double high_freq_factor = 4.0;  // llama3
  int original_max_position = 0;  // tokens; llama3, yarn, longrope
  double beta_fast = 32.0;        // yarn
  double beta_slow = 1.0;         // yarn
  double attention_factor =
      0.0;              // yarn, longrope: multiplies cos and sin; 0: as transformers derives it
  double mscale = 0.0;  // yarn (DeepSeek's spelling), 0: not given
  double mscale_all_dim = 0.0;            // yarn, likewise
  bool truncate = true;                   // yarn: round the correction range to whole dimensions
  std::vector<float> short_factors = {};  // longrope (rotary_dim / 2): divisors of the frequencies
};

enum class Norm { kRms, kLayer };                 // RMS; LayerNorm with bias
enum class QkNorm { kNone, kHead, kProjection };  // of each head; of all q or k heads at once
enum class Activation { kSilu, kGeluTanh, kGeluErf };
enum class LayerRope { kMain, kSliding, kNone };  // ModelConfig::rope, sliding_rope, no rotation

// What may differ from layer to layer.
struct LayerConfig {
  int window = 0;  // newest tokens that a query sees, its own included; 0: all
  LayerRope rope = LayerRope::kMain;
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
  int rotary_dim = 0;    // channels of a head that RoPE rotates, the first ones; 0: no RoPE
  int max_position = 0;  // tokens the model was trained for; a note, not a limit
  // Tokens beyond which results would not be the model's, and why; 0: none.
  int position_limit = 0;
  std::string position_limit_reason;

  Norm norm = Norm::kRms;
  float norm_eps = 1e-5f;
  bool norm_plus_one = false;  // the files' norm weights are what is added to 1 (Gemma)
  bool norm_before = true;     // attention and MLP read the normed residual stream, else it itself
  bool norm_after = false;     // what they give is normed before it is added (Gemma 2, OLMo 2)
  bool parallel_residual = false;  // the MLP reads the residual stream without attention's output
  double residual_scale = 1.0;     // times what attention and MLP add

  RopeConfig rope;
  RopeConfig sliding_rope;          // of the layers that say so
  std::vector<LayerConfig> layers;  // (n_layers), or empty: all as LayerConfig begins
  int learned_positions = 0;        // rows of a table that is added to the embeddings; 0: none

  double attention_scale = 0.0;    // of q k^T; 0: 1 / sqrt(head_dim)
  double attention_softcap = 0.0;  // c tanh(score / c); 0: none
  QkNorm qk_norm = QkNorm::kNone;  // before RoPE
  bool qkv_bias = false;  // q, k and v projections add a bias (Qwen2; Llama's attention_bias)
  bool o_bias = false;    // the output projection too (Llama's attention_bias)

  Activation activation = Activation::kSilu;
  bool gated_mlp = true;  // down(activation(gate x) * up x), else down(activation(up x))
  bool mlp_bias = false;  // gate, up and down add a bias (Llama's mlp_bias)

  bool tied_embeddings = false;
  double embedding_scale = 1.0;  // of embedding rows
  double logit_scale = 1.0;
  double logit_softcap = 0.0;  // c tanh(logit / c); 0: none
  int bos_id = -1;             // -1: none
  std::vector<int> eos_ids;    // from generation_config.json, else config.json, else GGUF metadata

  int group() const { return n_heads / n_kv_heads; }  // query heads of one KV head
  LayerConfig layer(int l) const { return layers.empty() ? LayerConfig{} : layers[l]; }
  int n_sliding_layers() const;
  float query_scale() const;  // attention_scale, or what stands for it
  // Rows that layer l holds at most for the token after n others: those that it may see.
  int64_t rows_held(int l, int64_t n) const;
};

// Throws Error(kUsage) where n tokens are beyond config.position_limit. place: "" or "…: ".
void check_length(const ModelConfig& config, int64_t n, const std::string& place);

// config.json of a Hugging Face folder (engine/arch/ knows the architectures), and
// generation_config.json where there is one. Both spellings of transformers 4 and 5. Throws
// Error(kData) for a missing key, a value of the wrong type and everything that the forward pass
// would not compute.
ModelConfig read_model_config(const std::filesystem::path& folder);

// "default", "linear", "llama3", "yarn", "dynamic", "longrope"
const char* rope_type_name(RopeType type);
const char* activation_name(Activation activation);  // "silu", "gelu_tanh", "gelu"

}  // namespace kv
