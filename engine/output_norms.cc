#include "engine/output_norms.h"

#include <cmath>

#include "kernels/parallel.h"

namespace kv {

OutputNorms::OutputNorms(const Model& model, int layer)
    : head_dim_(model.config.head_dim), n_panels_((model.config.dim + kPanel - 1) / kPanel) {
  const Linear& w = model.layers[layer].o;
  const size_t panel_floats = static_cast<size_t>(head_dim_) * kPanel;
  panels_.assign(panel_floats * n_panels_ * model.config.n_heads, 0.0f);
  parallel_for(model.config.dim, [&](int64_t o) {
    std::vector<float> row(w.n_in());
    w.row(static_cast<int>(o), row.data());
    for (int i = 0; i < w.n_in(); ++i) {
      const size_t panel = static_cast<size_t>(i / head_dim_) * n_panels_ + o / kPanel;
      panels_[panel * panel_floats + static_cast<size_t>(i % head_dim_) * kPanel + o % kPanel] =
          row[i];
    }
  });
}

void OutputNorms::rows(int head, const float* values, int64_t stride, int n, bool two_norm,
                       float* out) const {
  const size_t panel_floats = static_cast<size_t>(head_dim_) * kPanel;
  std::vector<float> product(static_cast<size_t>(n) * kPanel);
  std::vector<double> sums(n, 0.0);
  for (int p = 0; p < n_panels_; ++p) {
    const float* panel =
        panels_.data() + (static_cast<size_t>(head) * n_panels_ + p) * panel_floats;
    kernels().gemm_f32(values, stride, n, head_dim_, panel, kPanel, product.data(), kPanel, false);
    for (int r = 0; r < n; ++r) {
      for (int o = 0; o < kPanel; ++o) {
        const double x = product[r * kPanel + o];
        sums[r] += two_norm ? x * x : std::abs(x);
      }
    }
  }
  for (int r = 0; r < n; ++r) {
    out[r] = static_cast<float>(two_norm ? std::sqrt(sums[r]) : sums[r]);
  }
}

}  // namespace kv
