// How the files of an architecture spell their weights, and what must be there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model_config.h"

namespace kv {

// "{}" stands for the layer. Every name is that of a module; ".weight" and ".bias" follow it.
struct TensorNames {
  const char *embedding, *final_norm, *lm_head;
  const char *attention_norm, *q, *k, *v, *q_norm, *k_norm, *o;
  const char *mlp_norm, *gate, *up, *down;
};

// model.layers.{}.self_attn.q_proj …: Llama and all that copied its module tree.
extern const TensorNames kLlamaNames;

// "model.layers.3.self_attn.q_proj" for (kLlamaNames.q, 3).
std::string tensor_name(const char* pattern, int layer);

struct ExpectedTensor {
  std::string name;
  std::vector<int64_t> shape;
};

// Every tensor that this model must have, with its shape; lm_head not with tied embeddings.
std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config, const TensorNames& names);

}  // namespace kv
