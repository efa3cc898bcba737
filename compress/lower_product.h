// Products with square matrices of which only the lower triangle counts, in blocks of rows: of row a the
// columns before the end of a's block, which one call of gemm_f32 takes together.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/kernels.h"

namespace kv {

inline constexpr int kLowerRows = 12;  // rows of a block: smaller ones compute less and run slower

// out (n, kTile) = A (n, n) x (n, kTile).
inline void lower_product(const float* a, int n, const float* x, float* out) {
  for (int from = 0; from < n; from += kLowerRows) {
    const int end = std::min(from + kLowerRows, n);
    kernels().gemm_f32(a + int64_t{from} * n, n, end - from, end, x, kTile, out + from * kTile,
                       kTile, false);
  }
}

}  // namespace kv
