// Model: configuration, weights and tokenizer of one loaded model. Immutable after load, shared by
// all threads.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/linear.h"
#include "engine/model_config.h"

namespace kv {

class Tokenizer;
class ChatTemplate;

// One decoder layer. Empty vectors where the model has no such tensor; of norms that multiply by 1 + w
// these are the sums.
struct LayerWeights {
  std::vector<float> attention_norm, attention_norm_bias;  // (dim); with norm_before
  Linear
      qkv;  // (n_heads + 2 n_kv_heads) * head_dim outputs: q heads, k heads, v heads; bias inside
  std::vector<float> q_norm, k_norm;           // (head_dim), or all channels of q and of k
  Linear o;                                    // (dim, n_heads * head_dim)
  std::vector<float> attention_post_norm;      // (dim); with norm_after
  std::vector<float> mlp_norm, mlp_norm_bias;  // (dim); with norm_before
  Linear gate_up;                    // 2 * hidden_dim outputs: gate, then up; up alone without gate
  Linear down;                       // (dim, hidden_dim)
  std::vector<float> mlp_post_norm;  // (dim); with norm_after
};

struct LoadOptions {
  // stored | f32 | bf16 | f16: the type that products read; int8: weights and activations rounded to
  // eight bits for every product; codes: the codes of a GGUF file's Q8_0 matrices as they are, and
  // activations rounded to eight bits. Neither of the two with openblas.
  std::string weights = "stored";
  bool openblas = false;  // gemm: openblas (float32 copies of every matrix; not bit-reproducible)
  double rope_theta_factor = 1;  // the configuration's rope_theta is multiplied by it
};

class Model {
 public:
  // location: a Hugging Face folder or a .gguf file (engine/hub.h turns names into locations).
  // Every tensor is checked (presence, dtype, shape, bounds) before work starts. Throws
  // Error(kData) naming file and tensor.
  static std::shared_ptr<const Model> load(const std::filesystem::path& location,
                                           const LoadOptions& options = {});

  ModelConfig config;
  Embedding embedding;  // (vocab, dim)
  Embedding positions;  // (learned_positions, dim)
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm, final_norm_bias;  // (dim)
  Linear lm_head;  // (vocab, dim); with tied embeddings it shares the embedding's memory

  std::shared_ptr<const Tokenizer> tokenizer;         // null where the folder has none
  std::shared_ptr<const ChatTemplate> chat_template;  // null where there is none
  std::filesystem::path location;
  std::string stored_dtype;  // what the file stores, for people: "BF16", "Q4_1+Q6_K+F32"
  std::string weights_hash;  // xxh3-128 hex over names, shapes and bytes of all tensors as stored,
                             // in name order
  size_t weight_bytes = 0;   // memory that the weights take
  int64_t n_parameters = 0;

  // The tokenizer, or Error(kData) that says what was looked for and where.
  const Tokenizer& require_tokenizer() const;
};

// Error(kData) for a model that has none: what was looked for and where.
[[noreturn]] void throw_no_tokenizer(const std::filesystem::path& location);

// Tokenizer and chat template alone, without reading weights; null where the model has none.
struct ModelText {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;
};
ModelText read_model_text(const std::filesystem::path& location);

// What `inspect` and the memory planner need: headers only, no weights read.
struct ModelHeader {
  ModelConfig config;
  std::string stored_dtype;
  int64_t n_parameters = 0;
  size_t weight_bytes = 0;  // bytes in the file
  std::filesystem::path location;
};
ModelHeader read_model_header(const std::filesystem::path& location);

}  // namespace kv
