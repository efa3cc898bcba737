#include "compress/future_queries.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "engine/error.h"

namespace kv {

namespace {

// x, whose channels i and half + i are a pair, becomes R x: for each of `rows` rows of x (`dim` each).
void turn_channels(const std::vector<double>& cos, const std::vector<double>& sin, int64_t rows,
                   int64_t dim, double* x) {
  const size_t half = cos.size();
  for (int64_t r = 0; r < rows; ++r, x += dim) {
    double *lo = x, *hi = x + half;
    for (size_t i = 0; i < half; ++i) {
      const double turned = lo[i] * cos[i] - hi[i] * sin[i];
      hi[i] = hi[i] * cos[i] + lo[i] * sin[i];
      lo[i] = turned;
    }
  }
}

// The same for the pairs of rows of x (dim, dim).
void turn_rows(const std::vector<double>& cos, const std::vector<double>& sin, int64_t dim,
               double* x) {
  const auto half = static_cast<int64_t>(cos.size());
  for (int64_t i = 0; i < half; ++i) {
    double *lo = x + i * dim, *hi = x + (half + i) * dim;
    for (int64_t d = 0; d < dim; ++d) {
      const double turned = lo[d] * cos[i] - hi[d] * sin[i];
      hi[d] = hi[d] * cos[i] + lo[d] * sin[i];
      lo[d] = turned;
    }
  }
}

}  // namespace

MeanRotation::MeanRotation(const LayerView& view, int future)
    : view_(view), means_(means_of(view, future)) {
  KV_CHECK(view.query_mean != nullptr && future > 0);
}

// The layers of a prompt ask for the same means one after the other, so the last ones are kept.
std::shared_ptr<const MeanRotation::Means> MeanRotation::means_of(const LayerView& view,
                                                                  int future) {
  static std::mutex mutex;
  static std::shared_ptr<const Means> last;
  const std::lock_guard lock(mutex);
  const auto& frequencies = view.inv_freq;
  if (last != nullptr && last->first == view.n_tokens && last->future == future &&
      last->factor == view.rope_factor &&
      std::equal(frequencies.begin(), frequencies.end(), last->inv_freq.begin(),
                 last->inv_freq.end()))
    return last;
  Means means{view.n_tokens,
              future,
              view.rope_factor,
              std::vector<float>(frequencies.begin(), frequencies.end()),
              {},
              {}};
  for (const float frequency : frequencies) {
    double cos = 0, sin = 0;
    for (int p = view.n_tokens; p < view.n_tokens + future; ++p) {
      const float angle = static_cast<float>(p) * frequency;  // in float, as the RoPE table has it
      cos += std::cos(static_cast<double>(angle));
      sin += std::sin(static_cast<double>(angle));
    }
    means.cos.push_back(cos / future * view.rope_factor);
    means.sin.push_back(sin / future * view.rope_factor);
  }
  return last = std::make_shared<const Means>(std::move(means));
}

std::vector<double> MeanRotation::mean(int query_head) const {
  const double* mu = view_.query_mean + static_cast<int64_t>(query_head) * view_.head_dim;
  std::vector<double> out(mu, mu + view_.head_dim);
  turn_channels(means_->cos, means_->sin, 1, view_.head_dim, out.data());
  return out;
}

std::vector<double> MeanRotation::covariance(int query_head) const {
  KV_CHECK(view_.query_covariance != nullptr);
  const int64_t dim = view_.head_dim;
  const double* c = view_.query_covariance + query_head * dim * dim;
  std::vector<double> out(c, c + dim * dim);
  turn_channels(means_->cos, means_->sin, dim, dim, out.data());  // C R^T
  turn_rows(means_->cos, means_->sin, dim, out.data());           // R (C R^T)
  return out;
}

}  // namespace kv
