#include "compress/softmax.h"

#include <algorithm>
#include <vector>

#include "kernels/kernels.h"

namespace kv {

void softmax(float* x, int n) {
  if (n == 0) return;
  const Kernels& k = kernels();
  const int n_blocks = (n + kAttnBlock - 1) / kAttnBlock;
  std::vector<float> block_max(n_blocks), block_sum(n_blocks);
  for (int b = 0; b < n_blocks; ++b) {
    const int first = b * kAttnBlock;
    k.softmax_block(x + first, std::min(kAttnBlock, n - first), &block_max[b], &block_sum[b]);
  }
  const float max = *std::max_element(block_max.begin(), block_max.end());
  for (float& m : block_max) m -= max;
  k.exp_inplace(block_max.data(), n_blocks);
  double total = 0;
  for (int b = 0; b < n_blocks; ++b) total += static_cast<double>(block_max[b]) * block_sum[b];
  for (int b = 0; b < n_blocks; ++b) {
    const int first = b * kAttnBlock;
    k.scale(x + first, static_cast<float>(block_max[b] / total), std::min(kAttnBlock, n - first),
            x + first);
  }
}

}  // namespace kv
