#include "engine/query_statistics.h"

#include <algorithm>

#include "kernels/parallel.h"

namespace kv {

QueryMoments::QueryMoments(const ModelConfig& config, int first_token)
    : n_layers_(config.n_layers),
      n_heads_(config.n_heads),
      head_dim_(config.head_dim),
      first_token_(first_token),
      n_tokens_(n_layers_, 0),
      sums_(static_cast<size_t>(n_layers_) * n_heads_ * head_dim_, 0.0),
      products_(sums_.size() * head_dim_, 0.0) {}

void QueryMoments::add(int layer, int first_token, int n, const float* queries, int64_t stride) {
  const int begin = std::clamp(first_token_ - first_token, 0, n);
  if (begin == n) return;
  parallel_for(n_heads_, [&](int64_t h) {
    const size_t head = static_cast<size_t>(layer) * n_heads_ + h;
    double* sum = sums_.data() + head * head_dim_;
    double* product = products_.data() + head * head_dim_ * head_dim_;
    std::vector<double> q(head_dim_);
    for (int i = begin; i < n; ++i) {
      const float* row = queries + i * stride + h * head_dim_;
      for (int d = 0; d < head_dim_; ++d) q[d] = row[d];
      for (int a = 0; a < head_dim_; ++a) {
        sum[a] += q[a];
        double* out = product + static_cast<size_t>(a) * head_dim_;
        for (int b = 0; b <= a; ++b) out[b] += q[a] * q[b];
      }
    }
  });
  n_tokens_[layer] += n - begin;
}

QueryStatistics QueryMoments::statistics() const {
  QueryStatistics result{first_token_, sums_, products_};
  for (int layer = 0; layer < n_layers_; ++layer) {
    const double n = static_cast<double>(std::max<int64_t>(n_tokens_[layer], 1));
    for (int h = 0; h < n_heads_; ++h) {
      const size_t head = static_cast<size_t>(layer) * n_heads_ + h;
      double* mean = result.mean.data() + head * head_dim_;
      double* covariance = result.covariance.data() + head * head_dim_ * head_dim_;
      for (int a = 0; a < head_dim_; ++a) mean[a] /= n;
      for (int a = 0; a < head_dim_; ++a) {
        for (int b = 0; b <= a; ++b) {
          double& entry = covariance[a * head_dim_ + b];
          entry = entry / n - mean[a] * mean[b];
          covariance[b * head_dim_ + a] = entry;
        }
      }
    }
  }
  return result;
}

void QueryMoments::append_to(std::vector<double>& out) const {
  for (const int64_t n : n_tokens_) out.push_back(static_cast<double>(n));
  out.insert(out.end(), sums_.begin(), sums_.end());
  out.insert(out.end(), products_.begin(), products_.end());
}

bool QueryMoments::take_from(std::span<const double>& from) {
  if (from.size() < n_tokens_.size() + sums_.size() + products_.size()) return false;
  for (size_t i = 0; i < n_tokens_.size(); ++i) {
    if (!(from[i] >= 0 && from[i] <= 2147483647.0)) return false;
    n_tokens_[i] = static_cast<int64_t>(from[i]);
  }
  from = from.subspan(n_tokens_.size());
  std::copy_n(from.begin(), sums_.size(), sums_.begin());
  from = from.subspan(sums_.size());
  std::copy_n(from.begin(), products_.size(), products_.begin());
  from = from.subspan(products_.size());
  return true;
}

}  // namespace kv
