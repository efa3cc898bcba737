// Products with square matrices of which only the lower triangle counts, in whole panels: of row a the
// columns before the end of a's panel of kPanel, which is what gemm_f32 computes together.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace kv {

// out (n, kTile) = A (n, n) x (n, kTile).
inline void lower_product(const float* a, int n, const float* x, float* out) {
  for (int from = 0; from < n; from += kPanel) {
    const int end = from + kPanel < n ? from + kPanel : n;
    kernels().gemm_f32(a + int64_t{from} * n, n, end - from, end, x, kTile, out + from * kTile,
                       kTile, false);
  }
}

}  // namespace kv
