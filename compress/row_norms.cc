#include "compress/row_norms.h"

namespace kv {

std::vector<double> squared_key_norms(const LayerView& view, const LayerView::HeadRows& head) {
  const double factor = static_cast<double>(view.rope_factor) * view.rope_factor;
  const int rotated = 2 * static_cast<int>(view.inv_freq.size());
  std::vector<double> out(head.n_rows);
  for (int first = 0; first < head.n_rows; first += kTile) {
    const float* tile = head.raw_keys + static_cast<int64_t>(first) * view.head_dim;
    double squares[kTile] = {};
    for (int d = 0; d < view.head_dim; ++d) {
      for (int r = 0; r < kTile; ++r) {
        const double x = tile[d * kTile + r];
        squares[r] += x * x;
      }
      if (d + 1 != rotated) continue;
      for (double& sum : squares) sum *= factor;
    }
    for (int r = 0; r < kTile && first + r < head.n_rows; ++r) out[first + r] = squares[r];
  }
  return out;
}

}  // namespace kv
