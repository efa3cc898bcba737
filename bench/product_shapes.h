// The matrices of two models, as the engine multiplies them.
#pragma once

#include <vector>

namespace kv {

struct ProductShape {
  int n_in, n_out;
  int count;  // in the model
};

struct ModelShapes {
  const char* model;
  std::vector<ProductShape> shapes;
};

// q, k and v; output; gate and up; down; and the logits.
inline const std::vector<ModelShapes>& model_shapes() {
  static const std::vector<ModelShapes> kModels = {
      {"SmolLM2-135M",
       {{576, 960, 30}, {576, 576, 30}, {576, 3072, 30}, {1536, 576, 30}, {576, 49152, 1}}},
      {"Qwen2.5-0.5B",
       {{896, 1152, 24}, {896, 896, 24}, {896, 9728, 24}, {4864, 896, 24}, {896, 151936, 1}}}};
  return kModels;
}

}  // namespace kv
