// knorm: keys of small norm attract attention (arXiv 2406.11430, "A Simple and Effective L2
// Norm-Based Strategy").
//
//   S_j = -||K_j||_2
//
// Squares are added in double over rising channels of the key before RoPE, which turns keys and
// leaves norms alone (but for yarn's factor).
//
// Differs from the paper: every layer is compressed (the paper leaves out the first two).
// Differs from kvpress: it takes the norm of the rotated key in float. In layer 0 a norm depends on
// the token alone: repeated tokens tie exactly here, and the lower position wins; there the
// rounding of their rotations decides. Either choice is the same key and value at another position.
#include <cmath>

#include "compress/method.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

// scores (n_rows) from tiles of (head_dim, kTile).
std::vector<float> negative_norms(const LayerView::HeadRows& head, int head_dim,
                                  float rope_factor) {
  std::vector<float> scores(head.n_rows);
  for (int first = 0; first < head.n_rows; first += kTile) {
    const float* tile = head.raw_keys + static_cast<int64_t>(first) * head_dim;
    double squares[kTile] = {};
    for (int d = 0; d < head_dim; ++d) {
      for (int r = 0; r < kTile; ++r) {
        const double x = tile[d * kTile + r];
        squares[r] += x * x;
      }
    }
    for (int r = 0; r < kTile && first + r < head.n_rows; ++r) {
      scores[first + r] = static_cast<float>(-std::sqrt(squares[r]) * rope_factor);
    }
  }
  return scores;
}

class KnormPolicy : public EvictionPolicy {
 public:
  using EvictionPolicy::EvictionPolicy;

 protected:
  KvNeeds inputs(int) const override { return {.raw_keys = true}; }

  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    out.scores.resize(view.heads.size());
    parallel_for(static_cast<int64_t>(view.heads.size()), [&](int64_t h) {
      out.scores[h] = negative_norms(view.heads[h], view.head_dim, view.rope_factor);
    });
    return out;
  }
};

}  // namespace

Method knorm_method() {
  Method method;
  method.info.name = "knorm";
  method.info.kind = "policy";
  method.info.kvpress_name = "Knorm";
  method.info.doc = "remove the keys of the largest norm";
  method.info.paper = "arXiv 2406.11430";
  method.make_policy = [](const Params&, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<KnormPolicy>(std::move(rules));
  };
  return method;
}

}  // namespace kv
