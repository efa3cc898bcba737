// Mean and, where asked for, covariance of a sequence's queries before RoPE, summed up while it runs.
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
// covariance no digits. Sums of kMomentBlock tokens are added in order in float, their products by one
// chain of fused multiply-adds (gemm_f32), counted from the first counted token; whole blocks are added
// in double. So nothing depends on how tokens were cut into passes, nor the mean on the covariance.
class QueryMoments {
 public:
  // Tokens before needs.first_token are left out.
  QueryMoments(const ModelConfig& config, const QueryStatisticsNeeds& needs);

  // Queries of the tokens first_token .. first_token + n - 1 of one layer: head h of token i at
  // queries + i * stride + h * head_dim. Tokens must come in order.
  void add(int layer, int first_token, int n, const float* queries, int64_t stride);

  // Of the tokens so far; zeros where none was left.
  QueryStatistics statistics() const;

  // Forgets the products behind the covariance.
  void drop_covariance();

  // The counts and sums as they are, and back; take_from moves `from` on and gives false where there
  // are too few.
  void append_to(std::vector<double>& out) const;
  bool take_from(std::span<const double>& from);

  const QueryStatisticsNeeds& needs() const { return needs_; }
  size_t bytes() const {
    return (origins_.size() + sums_.open.size() + products_.open.size()) * sizeof(float) +
           (sums_.closed.size() + products_.closed.size()) * sizeof(double);
  }
  // bytes() of such moments of such a model.
  static size_t bytes_for(const ModelConfig& config, const QueryStatisticsNeeds& needs);

 private:
  static constexpr int64_t kSpan = 256;  // channels whose sums are added together

  // The same number of terms for each (layer, head).
  struct Sums {
    std::vector<float> open;     // of the block at hand
    std::vector<double> closed;  // of the blocks before it

    void resize(size_t size);
    double at(int64_t i) const { return closed[i] + static_cast<double>(open[i]); }
    void close(int64_t from, int64_t count);  // the block at hand is whole
  };

  // Where the products of channel `row` with the kPanel channels of panel p begin among one head's.
  // Only rows from p * kPanel on are kept: the lower triangle in whole panels.
  static int64_t place(int head_dim, int p, int row);
  int64_t place(int p, int row) const { return place(head_dim_, p, row); }
  // Of one head's products.
  static int64_t n_products(int head_dim, const QueryStatisticsNeeds& needs);
  // Tokens of one block at a time: fn(first, how many, how many the block has before).
  template <typename Fn>
  static void for_each_block(int64_t n_before, int n, const Fn& fn);
  void add_sums(int64_t from, int64_t count, int64_t n_before, int n, const float* queries,
                int64_t stride);
  void add_products(int64_t head, int64_t n_before, int n, const float* queries, int64_t stride);
  void head_statistics(int64_t head, int64_t n_tokens, QueryStatistics& out) const;

  int n_layers_, n_heads_, head_dim_, n_panels_;
  QueryStatisticsNeeds needs_;
  int64_t n_products_;             // of each head
  std::vector<int64_t> n_tokens_;  // (n_layers) counted
  std::vector<float> origins_;     // (n_layers, n_heads, head_dim) the first counted query
  Sums sums_;                      // (n_layers, n_heads, head_dim)
  Sums products_;                  // (n_layers, n_heads, n_products_)
};

}  // namespace kv
