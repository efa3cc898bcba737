// Norms of single rows of a view.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/kv_policy.h"
#include "kernels/kernels.h"

namespace kv {

// ||V_row||_2, summed in double in channel order.
inline double value_norm(const LayerView& view, const LayerView::HeadRows& head, int row) {
  const float* v = head.values + static_cast<int64_t>(row) * padded(view.head_dim);
  double sum = 0;
  for (int d = 0; d < view.head_dim; ++d) sum += static_cast<double>(v[d]) * v[d];
  return std::sqrt(sum);
}

// ||K_row||_2^2 of every row of a head as attention sees its keys: RoPE turns the first channels and may
// multiply them (yarn, longrope), the others stay. Summed in double in channel order.
std::vector<double> squared_key_norms(const LayerView& view, const LayerView::HeadRows& head);

}  // namespace kv
