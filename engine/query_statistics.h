// Mean and covariance of a sequence's queries before RoPE, summed up while it runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/kv_policy.h"
#include "engine/model_config.h"
#include "kernels/kernels.h"

namespace kv {

inline constexpr int kMomentBlock = kTile;  // tokens whose products are summed in float

// The queries are taken relative to the first counted one, so that a mean far from zero costs the
// covariance no digits. Products and sums of kMomentBlock tokens are one chain of fused multiply-adds
// in float (gemm_f32), counted from the first counted token; whole blocks are added in double. So the
// sums do not depend on how tokens were cut into passes.
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
  size_t bytes() const {
    return (origins_.size() + open_.size()) * sizeof(float) + closed_.size() * sizeof(double);
  }
  // bytes() of any moments of such a model.
  static size_t bytes_for(const ModelConfig& config);

 private:
  // Where the products of channel `row` with the kPanel channels of panel p begin among one head's;
  // row head_dim holds the sums of the channels themselves. Only rows from p * kPanel on are kept:
  // the lower triangle in whole panels.
  static int64_t place(int head_dim, int p, int row);
  int64_t place(int p, int row) const { return place(head_dim_, p, row); }
  void add_head(int64_t head, int64_t n_before, int n, const float* queries, int64_t stride);
  void head_statistics(int64_t head, int64_t n_tokens, QueryStatistics& out) const;

  int n_layers_, n_heads_, head_dim_, first_token_, n_panels_;
  int64_t head_size_;              // numbers kept for each head
  std::vector<int64_t> n_tokens_;  // (n_layers) counted
  std::vector<float> origins_;     // (n_layers, n_heads, head_dim) the first counted query
  std::vector<float> open_;        // (n_layers, n_heads, head_size_) of the block at hand
  std::vector<double> closed_;     // (n_layers, n_heads, head_size_) of the blocks before it
};

}  // namespace kv
