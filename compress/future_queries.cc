#include "compress/future_queries.h"

#include <cmath>

#include "engine/error.h"

namespace kv {

MeanRotation::MeanRotation(const LayerView& view, int future) : view_(view) {
  KV_CHECK(view.query_mean != nullptr && view.query_covariance != nullptr && future > 0);
  for (const float frequency : view.inv_freq) {
    double cos = 0, sin = 0;
    for (int p = view.n_tokens; p < view.n_tokens + future; ++p) {
      const float angle = static_cast<float>(p) * frequency;  // in float, as the RoPE table has it
      cos += std::cos(static_cast<double>(angle));
      sin += std::sin(static_cast<double>(angle));
    }
    cos_.push_back(cos / future * view.rope_factor);
    sin_.push_back(sin / future * view.rope_factor);
  }
}

void MeanRotation::apply(double* x, int stride) const {
  const size_t half = cos_.size();
  for (size_t i = 0; i < half; ++i) {
    double& lo = x[i * stride];
    double& hi = x[(i + half) * stride];
    const double turned = lo * cos_[i] - hi * sin_[i];
    hi = hi * cos_[i] + lo * sin_[i];
    lo = turned;
  }
}

std::vector<double> MeanRotation::mean(int query_head) const {
  const double* mu = view_.query_mean + static_cast<int64_t>(query_head) * view_.head_dim;
  std::vector<double> out(mu, mu + view_.head_dim);
  apply(out.data(), 1);
  return out;
}

std::vector<double> MeanRotation::covariance(int query_head) const {
  const int64_t dim = view_.head_dim;
  const double* c = view_.query_covariance + query_head * dim * dim;
  std::vector<double> out(c, c + dim * dim);
  for (int64_t row = 0; row < dim; ++row) apply(out.data() + row * dim, 1);  // C R^T
  for (int64_t column = 0; column < dim; ++column) {
    apply(out.data() + column, static_cast<int>(dim));  // R (C R^T)
  }
  return out;
}

}  // namespace kv
