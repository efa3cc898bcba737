#include "compress/row_norms.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/kernels.h"

namespace kv {
namespace {

// Sums of squares of keys in tiles; what the first `rotated` channels add up to is multiplied by factor.
std::vector<double> squared_norms(const float* tiles, int n_rows, int head_dim, int rotated,
                                  double factor) {
  std::vector<double> norms(static_cast<size_t>(n_rows + kTile - 1) / kTile * kTile, 0.0);
  for (int first = 0; first < n_rows; first += kTile, tiles += int64_t{head_dim} * kTile) {
    double* squares = norms.data() + first;
    for (int d = 0; d < head_dim; ++d) {
      for (int r = 0; r < kTile; ++r) {
        const double x = tiles[d * kTile + r];
        squares[r] += x * x;
      }
      if (d + 1 != rotated) continue;
      for (int r = 0; r < kTile; ++r) squares[r] *= factor;
    }
  }
  norms.resize(static_cast<size_t>(n_rows));
  return norms;
}

}  // namespace

std::vector<double> squared_key_norms(const float* tiles, int n_rows, int head_dim) {
  return squared_norms(tiles, n_rows, head_dim, 0, 1);
}

std::vector<double> squared_key_norms(const LayerView& view, const LayerView::HeadRows& head) {
  return squared_norms(head.raw_keys, head.n_rows, view.head_dim,
                       2 * static_cast<int>(view.inv_freq.size()),
                       static_cast<double>(view.rope_factor) * view.rope_factor);
}

std::vector<double> squared_value_norms(const LayerView::HeadRows& head, int head_dim) {
  constexpr int kTogether = 4;  // rows, whose sums wait for each other's additions
  const int64_t width = padded(head_dim);
  std::vector<double> norms;
  norms.reserve(static_cast<size_t>(head.n_rows));
  for (int first = 0; first < head.n_rows; first += kTogether) {
    const int n = std::min(kTogether, head.n_rows - first);
    const float* rows[kTogether];
    for (int i = 0; i < kTogether; ++i)
      rows[i] = head.values + (first + std::min(i, n - 1)) * width;
    double squares[kTogether] = {};
    for (int d = 0; d < head_dim; ++d) {
      for (int i = 0; i < kTogether; ++i) {
        const double x = rows[i][d];
        squares[i] += x * x;
      }
    }
    norms.insert(norms.end(), squares, squares + n);
  }
  return norms;
}

std::vector<double> value_norms(const LayerView::HeadRows& head, int head_dim) {
  std::vector<double> norms = squared_value_norms(head, head_dim);
  for (double& norm : norms) norm = std::sqrt(norm);
  return norms;
}

}  // namespace kv
