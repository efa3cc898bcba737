// knorm: keys of small norm attract attention (arXiv 2406.11430, "A Simple and Effective L2
// Norm-Based Strategy").
//
//   S_j = -||K_j||_2
//
// Squares are added in double over rising channels, so that the score is the float nearest to the
// norm of the rotated key, but for rotation's own rounding.
//
// Differs from the paper: every layer is compressed (the paper leaves out the first two).
// Differs from kvpress: nothing but the accumulator (float there). In layer 0 the norm depends on
// the token alone, so that repeated tokens tie but for the rounding of their rotation; either
// choice is the same key and value.
#include <cmath>

#include "compress/method.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

// scores (n_rows) from tiles of (head_dim, kTile).
std::vector<float> negative_norms(const LayerView::HeadRows& head, int head_dim) {
  std::vector<float> scores(head.n_rows);
  for (int first = 0; first < head.n_rows; first += kTile) {
    const float* tile = head.keys + static_cast<int64_t>(first) * head_dim;
    double squares[kTile] = {};
    for (int d = 0; d < head_dim; ++d) {
      for (int r = 0; r < kTile; ++r) {
        const double x = tile[d * kTile + r];
        squares[r] += x * x;
      }
    }
    for (int r = 0; r < kTile && first + r < head.n_rows; ++r) {
      scores[first + r] = static_cast<float>(-std::sqrt(squares[r]));
    }
  }
  return scores;
}

class KnormPolicy : public EvictionPolicy {
 public:
  using EvictionPolicy::EvictionPolicy;

 protected:
  KvNeeds inputs(int) const override {
    return {.window_queries = 0, .keys = true, .values = false};
  }

  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    out.scores.resize(view.heads.size());
    parallel_for(static_cast<int64_t>(view.heads.size()),
                 [&](int64_t h) { out.scores[h] = negative_norms(view.heads[h], view.head_dim); });
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
  method.make_policy = [](const Params&, EvictionRules rules) -> PolicyPtr {
    return std::make_shared<KnormPolicy>(std::move(rules));
  };
  return method;
}

}  // namespace kv
