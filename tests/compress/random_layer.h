// A layer of random keys, values and window queries for tests, and the view that policies get of
// it.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/kv_policy.h"
#include "kernels/kernels.h"

namespace kv {

class RandomLayer {
 public:
  struct Shape {
    int n_tokens = 40, n_heads = 4, n_kv_heads = 2, head_dim = 16;
    uint32_t seed = 1;
  };

  explicit RandomLayer(const Shape& shape) : shape_(shape), generator_(shape.seed) {
    std::vector<int32_t> all;
    for (int p = 0; p < shape.n_tokens; ++p) all.push_back(p);
    positions_.assign(shape.n_kv_heads, all);
    rows_.resize(shape.n_kv_heads);
    for (auto& rows : rows_) rows = normals(static_cast<size_t>(shape.n_tokens) * shape.head_dim);
    for (size_t h = 0; h < rows_.size(); ++h) value_rows_.push_back(normals(rows_[h].size()));
    queries_ = normals(static_cast<size_t>(shape.n_heads) * shape.n_tokens * shape.head_dim);
  }

  // Leaves only these positions (rising) in one KV head, as a former policy would.
  void keep(int kv_head, const std::vector<int32_t>& positions) { positions_[kv_head] = positions; }

  // Key of an original position.
  float* key(int kv_head, int position) {
    return rows_[kv_head].data() + position * shape_.head_dim;
  }
  float* value(int kv_head, int position) {
    return value_rows_[kv_head].data() + position * shape_.head_dim;
  }
  // Rotated query of a token.
  float* query(int head, int token) {
    return queries_.data() +
           (static_cast<size_t>(head) * shape_.n_tokens + token) * shape_.head_dim;
  }

  // RoPE is left out (keys and raw keys are the same) but for what policies compute with its
  // frequencies: zeros, unless set.
  void set_inv_freq(const std::vector<float>& inv_freq) { inv_freq_ = inv_freq; }

  // (n_heads, n_tokens) instead of what queries and keys give.
  void set_attention_received(const std::vector<double>& sums) { received_ = sums; }
  // (n_heads)(n_tokens) instead of random numbers.
  void set_output_norms(const std::vector<std::vector<float>>& norms) { output_norms_ = norms; }

  // (n_kv_heads, n_tokens) instead of random numbers.
  void set_repeat_scores(const std::vector<float>& scores) { repeat_scores_ = scores; }

  // Valid until the next call.
  LayerView view(const KvPolicy& policy) {
    const KvNeeds needs = policy.needs(shape_.n_tokens);
    LayerView v;
    v.n_layers = 1;
    v.n_heads = shape_.n_heads;
    v.n_kv_heads = shape_.n_kv_heads;
    v.head_dim = shape_.head_dim;
    v.n_tokens = shape_.n_tokens;
    tiles_.assign(shape_.n_kv_heads, {});
    values_.assign(shape_.n_kv_heads, {});
    for (int h = 0; h < shape_.n_kv_heads; ++h) {
      const auto& positions = positions_[h];
      if (needs.keys || needs.raw_keys) fill_tiles(h);
      if (needs.values) fill_values(h);
      v.heads.push_back({.n_rows = static_cast<int>(positions.size()),
                         .positions = positions,
                         .keys = needs.keys ? tiles_[h].data() : nullptr,
                         .raw_keys = needs.raw_keys ? tiles_[h].data() : nullptr,
                         .values = needs.values ? values_[h].data() : nullptr});
    }
    v.n_window = std::min(needs.window_queries, shape_.n_tokens);
    window_.clear();
    for (int i = 0; i < shape_.n_heads; ++i) {
      for (int t = shape_.n_tokens - v.n_window; t < shape_.n_tokens; ++t) {
        window_.insert(window_.end(), query(i, t), query(i, t) + shape_.head_dim);
      }
    }
    v.window_queries = v.n_window > 0 ? window_.data() : nullptr;
    if (inv_freq_.empty()) inv_freq_.assign(shape_.head_dim / 2, 0.0f);
    v.inv_freq = inv_freq_;
    if (!needs.query_statistics.empty()) {
      fill_query_statistics(needs.query_statistics.front().first_token);
      v.query_mean = query_mean_.data();
      if (needs.query_statistics.front().covariance) v.query_covariance = query_covariance_.data();
    }
    if (needs.attention_received) {
      fill_attention_received();
      v.attention_received = received_.data();
    }
    if (needs.output_norms) fill_output_norms(v);
    if (!needs.repeats.empty()) {
      if (repeat_scores_.empty()) {
        repeat_scores_ = normals(static_cast<size_t>(shape_.n_kv_heads) * shape_.n_tokens);
        for (float& x : repeat_scores_) x = std::abs(x);
      }
      v.repeat_scores = repeat_scores_.data();
    }
    return v;
  }

 private:
  std::vector<float> normals(size_t n) {
    std::normal_distribution<float> normal;
    std::vector<float> out(n);
    for (float& x : out) x = normal(generator_);
    return out;
  }

  void fill_tiles(int h) {
    const auto& positions = positions_[h];
    const size_t n_tiles = (positions.size() + kTile - 1) / kTile;
    // What lies beyond the rows may be anything finite.
    tiles_[h].assign(n_tiles * shape_.head_dim * kTile, 1e6f);
    for (size_t r = 0; r < positions.size(); ++r) {
      for (int d = 0; d < shape_.head_dim; ++d) {
        tiles_[h][(r / kTile) * shape_.head_dim * kTile + d * kTile + r % kTile] =
            key(h, positions[r])[d];
      }
    }
  }

  void fill_values(int h) {
    const auto& positions = positions_[h];
    const int width = padded(shape_.head_dim);
    values_[h].assign(positions.size() * width, 0.0f);
    for (size_t r = 0; r < positions.size(); ++r) {
      std::copy_n(value(h, positions[r]), shape_.head_dim, values_[h].data() + r * width);
    }
  }

  // Causal attention of all queries, in double.
  void fill_attention_received() {
    if (!received_.empty()) return;
    const int n = shape_.n_tokens, dim = shape_.head_dim;
    received_.assign(static_cast<size_t>(shape_.n_heads) * n, 0.0);
    std::vector<double> weights(n);
    for (int i = 0; i < shape_.n_heads; ++i) {
      for (int t = 0; t < n; ++t) {
        double sum = 0;
        for (int j = 0; j <= t; ++j) {
          double dot = 0;
          for (int d = 0; d < dim; ++d) {
            dot += query(i, t)[d] * key(i * shape_.n_kv_heads / shape_.n_heads, j)[d];
          }
          sum += weights[j] = std::exp(dot / std::sqrt(dim));
        }
        for (int j = 0; j <= t; ++j) received_[static_cast<size_t>(i) * n + j] += weights[j] / sum;
      }
    }
  }

  void fill_output_norms(LayerView& v) {
    if (output_norms_.empty()) {
      for (int i = 0; i < shape_.n_heads; ++i) {
        output_norms_.push_back(normals(shape_.n_tokens));
        for (float& x : output_norms_.back()) x = std::abs(x);
      }
    }
    shown_norms_.assign(shape_.n_heads, {});
    for (int i = 0; i < shape_.n_heads; ++i) {
      for (const int32_t p : positions_[i * shape_.n_kv_heads / shape_.n_heads]) {
        shown_norms_[i].push_back(output_norms_[i][p]);
      }
      v.output_norms.push_back(shown_norms_[i]);
    }
  }

  // Of the tokens from first on, two passes in double; zeros where there are none.
  void fill_query_statistics(int first) {
    const int dim = shape_.head_dim, n = std::max(1, shape_.n_tokens - first);
    query_mean_.assign(static_cast<size_t>(shape_.n_heads) * dim, 0.0);
    query_covariance_.assign(query_mean_.size() * dim, 0.0);
    for (int i = 0; i < shape_.n_heads; ++i) {
      double* mean = query_mean_.data() + i * dim;
      for (int t = first; t < shape_.n_tokens; ++t) {
        for (int d = 0; d < dim; ++d) mean[d] += static_cast<double>(query(i, t)[d]) / n;
      }
      for (int t = first; t < shape_.n_tokens; ++t) {
        for (int a = 0; a < dim; ++a) {
          for (int b = 0; b < dim; ++b) {
            query_covariance_[(static_cast<size_t>(i) * dim + a) * dim + b] +=
                (query(i, t)[a] - mean[a]) * (query(i, t)[b] - mean[b]) / n;
          }
        }
      }
    }
  }

  Shape shape_;
  std::mt19937 generator_;
  std::vector<std::vector<int32_t>> positions_;        // (n_kv_heads)
  std::vector<std::vector<float>> rows_, value_rows_;  // (n_kv_heads)(n_tokens, head_dim)
  std::vector<std::vector<float>> tiles_, values_;     // (n_kv_heads) as a view shows them
  std::vector<float> queries_, window_, inv_freq_;
  std::vector<double> query_mean_, query_covariance_, received_;
  std::vector<std::vector<float>> output_norms_, shown_norms_;
  std::vector<float> repeat_scores_;
};

}  // namespace kv
