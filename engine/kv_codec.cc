#include "engine/kv_codec.h"

#include "kernels/kernels.h"

namespace kv {

void weigh_loaded_values(const float* values, int n, int head_dim, const ValueProduct& product) {
  const int width = padded(head_dim);
  for (int d = 0; d < width; d += kPanel) {
    kernels().gemm_f32(product.weights, product.stride, product.n_rows, n, values + d, width,
                       product.out + d, width, product.accumulate);
  }
}

}  // namespace kv
