// Mean and covariance of a sequence's queries before RoPE, summed up while it runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/kv_policy.h"
#include "engine/model_config.h"

namespace kv {

// Every sum is one chain over the tokens in rising order, in double, whatever the passes: a product
// of two floats is exact there, so the chain has the same bits however it is compiled.
class QueryMoments {
 public:
  // Tokens before first_token are left out.
  QueryMoments(const ModelConfig& config, int first_token);

  // Queries of the tokens first_token .. first_token + n - 1 of one layer: head h of token i at
  // queries + i * stride + h * head_dim. Tokens must come in order.
  void add(int layer, int first_token, int n, const float* queries, int64_t stride);

  // Of the tokens so far; zeros where none was left.
  QueryStatistics statistics() const;

  // The counts and sums as they are, and back; take_from moves `from` on and gives false where there
  // are too few.
  void append_to(std::vector<double>& out) const;
  bool take_from(std::span<const double>& from);

  int first_token() const { return first_token_; }
  size_t bytes() const { return (sums_.size() + products_.size()) * sizeof(double); }

 private:
  int n_layers_, n_heads_, head_dim_, first_token_;
  std::vector<int64_t> n_tokens_;  // (n_layers) counted
  std::vector<double> sums_;       // (n_layers, n_heads, head_dim)
  std::vector<double> products_;   // (n_layers, n_heads, head_dim, head_dim), lower triangle
};

}  // namespace kv
