// How the files of an architecture spell their weights, and what must be there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model_config.h"

namespace kv {

// A tensor of the file that holds several of ours: its rows are cut into `parts`, in order. by_head: each
// head has its rows of all parts together (GPT-NeoX).
struct FusedTensor {
  const char* module;
  std::vector<const char*> parts;
  bool by_head = false;
};

// "{}" stands for the layer. Every name is that of a module; ".weight" and ".bias" follow it. Null: the
// architecture has no such module.
struct TensorNames {
  const char* embedding = nullptr;
  const char* positions = nullptr;  // learned ones
  const char* final_norm = nullptr;
  const char* lm_head = nullptr;
  const char* attention_norm = nullptr;
  const char* q = nullptr;
  const char* k = nullptr;
  const char* v = nullptr;
  const char* q_norm = nullptr;
  const char* k_norm = nullptr;
  const char* o = nullptr;
  const char* attention_post_norm = nullptr;  // after o
  const char* mlp_norm = nullptr;
  const char* gate = nullptr;
  const char* up = nullptr;
  const char* down = nullptr;
  const char* mlp_post_norm = nullptr;  // after down
  std::vector<FusedTensor> fused = {};
  bool transposed = false;                // the layers' matrices are stored as (inputs, outputs)
  const char* prefix = "";                // what names begin with in some files and not in others
  std::vector<const char*> derived = {};  // endings of tensors that follow from the config
};

extern const TensorNames kLlamaNames;  // and all that copied its module tree
extern const TensorNames kGemma2Names;
extern const TensorNames kGptNeoxNames;
extern const TensorNames kGpt2Names;
extern const TensorNames kOlmo2Names;
extern const TensorNames kPhi3Names;

// "model.layers.3.self_attn.q_proj" for (kLlamaNames.q, 3).
std::string tensor_name(const char* pattern, int layer);

struct ExpectedTensor {
  std::string name;
  std::vector<int64_t> shape;
};

// Every tensor that this model must have, with its shape; lm_head not with tied embeddings.
std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config, const TensorNames& names);

}  // namespace kv
