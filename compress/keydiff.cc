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
#include "kernels/kernels.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

class Keys {
 public:
  Keys(const LayerView::HeadRows& head, int head_dim) : keys_(head.keys), head_dim_(head_dim) {}
  double at(int row, int channel) const {
    return keys_[(static_cast<int64_t>(row / kTile) * head_dim_ + channel) * kTile + row % kTile];
  }
  double norm(int row) const {
    double squares = 0;
    for (int d = 0; d < head_dim_; ++d) squares += at(row, d) * at(row, d);
    return std::sqrt(squares);
  }

 private:
  const float* keys_;  // tiles of (head_dim, kTile)
  int head_dim_;
};

std::vector<float> distances(const LayerView::HeadRows& head, int head_dim) {
  const Keys keys(head, head_dim);
  std::vector<double> norms(head.n_rows), anchor(head_dim, 0.0);
  for (int j = 0; j < head.n_rows; ++j) {
    norms[j] = keys.norm(j);
    const double weight = 1 / std::max(norms[j], 1e-12);
    for (int d = 0; d < head_dim; ++d) anchor[d] += keys.at(j, d) * weight;
  }
  double squares = 0;
  for (double& a : anchor) {
    a /= head.n_rows;
    squares += a * a;
  }
  const double anchor_norm = std::max(std::sqrt(squares), 1e-8);
  std::vector<float> scores(head.n_rows);
  for (int j = 0; j < head.n_rows; ++j) {
    double dot = 0;
    for (int d = 0; d < head_dim; ++d) dot += keys.at(j, d) * anchor[d];
    scores[j] = static_cast<float>(-dot / (std::max(norms[j], 1e-8) * anchor_norm));
  }
  return scores;
}

class KeyDiffPolicy : public EvictionPolicy {
 public:
  using EvictionPolicy::EvictionPolicy;

 protected:
  KvNeeds inputs(int) const override { return {.keys = true}; }

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
