// A small model with random weights, made in memory: engine tests need no files.
#pragma once

#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "engine/model.h"

namespace kv::testing {

inline ModelConfig small_config() {
  ModelConfig c;
  c.architecture = "LlamaForCausalLM";
  c.vocab = 97;
  c.dim = 48;
  c.hidden_dim = 80;
  c.n_layers = 2;
  c.n_heads = 6;
  c.n_kv_heads = 2;
  c.head_dim = c.rotary_dim = 16;
  c.max_position = 4096;
  return c;
}

class RandomWeights {
 public:
  explicit RandomWeights(uint32_t seed) : generator_(seed) {}
  std::vector<float> normal(size_t n, double deviation, double mean = 0) {
    std::normal_distribution<float> distribution(static_cast<float>(mean),
                                                 static_cast<float>(deviation));
    std::vector<float> out(n);
    for (float& v : out) v = distribution(generator_);
    return out;
  }
  Linear linear(int n_out, int n_in, double gain, bool bias = false) {
    Linear out(n_out, n_in, DType::kF32);
    out.set_rows(normal(static_cast<size_t>(n_out) * n_in, gain / std::sqrt(n_in)).data(), 0,
                 n_out);
    if (bias) out.set_bias(normal(n_out, 0.3).data(), 0, n_out);
    return out;
  }

 private:
  std::mt19937 generator_;
};

inline std::shared_ptr<const Model> random_model(const ModelConfig& c, uint32_t seed = 1) {
  RandomWeights random(seed);
  auto model = std::make_shared<Model>();
  model->config = c;
  model->embedding = random.linear(c.vocab, c.dim, 0.35 * std::sqrt(c.dim));
  for (int l = 0; l < c.n_layers; ++l) {
    LayerWeights w;
    w.attention_norm = random.normal(c.dim, 0.1, 1);
    w.qkv = random.linear((c.n_heads + 2 * c.n_kv_heads) * c.head_dim, c.dim, 1.6, c.qkv_bias);
    if (c.qk_norm == QkNorm::kHead) w.q_norm = random.normal(c.head_dim, 0.2, 1.5);
    if (c.qk_norm == QkNorm::kHead) w.k_norm = random.normal(c.head_dim, 0.2, 1.5);
    w.o = random.linear(c.dim, c.n_heads * c.head_dim, 1.3, c.o_bias);
    w.mlp_norm = random.normal(c.dim, 0.1, 1);
    w.gate_up = random.linear(2 * c.hidden_dim, c.dim, 1.3, c.mlp_bias);
    w.down = random.linear(c.dim, c.hidden_dim, 1.3, c.mlp_bias);
    model->layers.push_back(std::move(w));
  }
  model->final_norm = random.normal(c.dim, 0.1, 1);
  model->lm_head = random.linear(c.vocab, c.dim, 2);
  return model;
}

inline std::vector<int32_t> random_ids(int n, int vocab, uint32_t seed = 7) {
  std::mt19937 generator(seed);
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = static_cast<int32_t>(generator() % vocab);
  return ids;
}

}  // namespace kv::testing
