// The prompt's queries as a sample of those to come: their mean and covariance, turned to the
// positions after the prompt. What expected_attention and cap score by.
#pragma once

#include <vector>

#include "engine/kv_policy.h"

namespace kv {

// R = mean over the positions n_tokens .. n_tokens + future - 1 of RoPE's rotation (with its factor,
// rope_factor): for the pair of channels (i, i + rotary_dim / 2) the matrix [[c, -s], [s, c]] of the
// mean cosine and sine. Channels beyond rotary_dim stay. The view must have the statistics.
class MeanRotation {
 public:
  MeanRotation(const LayerView& view, int future);

  // R mu of one query head, (head_dim).
  std::vector<double> mean(int query_head) const;
  // R C R^T of one query head, (head_dim, head_dim).
  std::vector<double> covariance(int query_head) const;

 private:
  // x[i * stride], i < head_dim, becomes R x.
  void apply(double* x, int stride) const;

  const LayerView& view_;
  std::vector<double> cos_, sin_;  // (rotary_dim / 2)
};

}  // namespace kv
