// Norms of value rows after the output projection: what a row would add to the residual stream.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model.h"

namespace kv {

// The output projection of one layer, unpacked once.
class OutputNorms {
 public:
  OutputNorms(const Model& model, int layer);

  // out[r] = the 1-norm, or (two_norm) the 2-norm, of V_r times query head `head`'s part of the
  // projection, for n rows of values (head_dim floats, stride apart). Sums in double, in order.
  void rows(int head, const float* values, int64_t stride, int n, bool two_norm, float* out) const;

 private:
  int head_dim_, n_panels_;
  std::vector<float> panels_;  // (n_heads, n_panels, head_dim, kPanel)
};

}  // namespace kv
