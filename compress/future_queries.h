// The prompt's queries as a sample of those to come: their mean and covariance, turned to the
// positions after the prompt. What expected_attention and cap score by.
#pragma once

#include <memory>
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
  // Mean cosine and sine of every frequency, (rotary_dim / 2) each.
  struct Means {
    int first = 0, future = 0;  // positions
    float factor = 1;
    std::vector<float> inv_freq;
    std::vector<double> cos, sin;
  };
  static std::shared_ptr<const Means> means_of(const LayerView& view, int future);

  const LayerView& view_;
  std::shared_ptr<const Means> means_;
};

}  // namespace kv
