// keydiff: keys that point elsewhere than the others stay (arXiv 2504.15364, "KeyDiff").
//
//   anchor = mean over j of K_j / max(||K_j||, 1e-12), for each KV head, keys after RoPE
//   S_j    = -(K_j . anchor) / (max(||K_j||, 1e-8) * max(||anchor||, 1e-8))
//
// Sums run in double over rising rows and channels.
//
// Differs from the paper: the whole prompt at once (the paper's form by blocks is another policy).
// Differs from kvpress: nothing but the accumulator (float there).
#include <algorithm>
#include <cmath>

#include "compress/method.h"
#include "compress/row_norms.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

// Adds w_r K_r to anchor over the first n rows of a tile of (head_dim, kTile), rising.
void add_directions(const float* tile, int head_dim, int n, const double* w, double* anchor) {
  constexpr int kTogether = 8;  // channels, whose sums wait for each other's additions
  for (int d = 0; d < head_dim; d += kTogether) {
    const int channels = std::min(kTogether, head_dim - d);
    double sums[kTogether] = {};
    std::copy_n(anchor + d, channels, sums);
    const float* of[kTogether];
    for (int c = 0; c < kTogether; ++c) of[c] = tile + (d + std::min(c, channels - 1)) * kTile;
    for (int r = 0; r < n; ++r) {
      for (int c = 0; c < kTogether; ++c) sums[c] += of[c][r] * w[r];
    }
    std::copy_n(sums, channels, anchor + d);
  }
}

std::vector<float> distances(const LayerView::HeadRows& head, int head_dim) {
  std::vector<double> norms = squared_key_norms(head.keys, head.n_rows, head_dim);
  std::vector<double> weights, anchor(head_dim, 0.0);
  for (double& norm : norms) {
    norm = std::sqrt(norm);
    weights.push_back(1 / std::max(norm, 1e-12));
  }
  const int64_t tile_floats = int64_t{head_dim} * kTile;
  for (int first = 0; first < head.n_rows; first += kTile) {
    add_directions(head.keys + first / kTile * tile_floats, head_dim,
                   std::min(kTile, head.n_rows - first), weights.data() + first, anchor.data());
  }
  double squares = 0;
  for (double& a : anchor) {
    a /= head.n_rows;
    squares += a * a;
  }
  const double anchor_norm = std::max(std::sqrt(squares), 1e-8);
  std::vector<float> scores(head.n_rows);
  for (int first = 0; first < head.n_rows; first += kTile) {
    const float* tile = head.keys + first / kTile * tile_floats;
    double dots[kTile] = {};
    for (int d = 0; d < head_dim; ++d) {
      for (int r = 0; r < kTile; ++r) dots[r] += tile[d * kTile + r] * anchor[d];
    }
    for (int r = 0; r < std::min(kTile, head.n_rows - first); ++r)
      scores[first + r] =
          static_cast<float>(-dots[r] / (std::max(norms[first + r], 1e-8) * anchor_norm));
  }
  return scores;
}

class KeyDiffPolicy : public EvictionPolicy {
 public:
  using EvictionPolicy::EvictionPolicy;

 protected:
  KvNeeds inputs(int) const override { return {.keys = true}; }

  bool scores_serve_any_ratio() const override { return true; }
  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    out.scores.resize(view.heads.size());
    parallel_for(static_cast<int64_t>(view.heads.size()),
                 [&](int64_t h) { out.scores[h] = distances(view.heads[h], view.head_dim); });
    return out;
  }
};

}  // namespace

Method keydiff_method() {
  Method method;
  method.info.name = "keydiff";
  method.info.kind = "policy";
  method.info.kvpress_name = "KeyDiff";
  method.info.doc = "keep the keys that differ most from the mean direction";
  method.info.paper = "arXiv 2504.15364";
  method.make_policy = [](const Params&, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<KeyDiffPolicy>(std::move(rules));
  };
  return method;
}

}  // namespace kv
