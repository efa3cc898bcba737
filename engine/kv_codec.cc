#include "engine/kv_codec.h"

namespace kv {

void score_loaded_keys(const float* keys, int head_dim, const KeyProduct& product) {
  kernels().gemm_f32(product.q, product.q_stride, product.n_rows, head_dim, keys, kTile,
                     product.scores, product.stride, false);
}

void weigh_loaded_values(const float* values, int n, int head_dim, const ValueProduct& product) {
  const int width = padded(head_dim);
  for (int d = 0; d < width; d += kPanel) {
    kernels().gemm_f32(product.weights, product.stride, product.n_rows, n, values + d, width,
                       product.out + d, width, product.accumulate);
  }
}

}  // namespace kv
