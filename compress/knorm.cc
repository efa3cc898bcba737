// knorm: keys of small norm attract attention (arXiv 2406.11430, "A Simple and Effective L2
// Norm-Based Strategy").
//
//   S_j = -||K_j||_2
//
// Squares are added in double over rising channels of the key before RoPE, which turns keys and
// leaves norms alone (but for the factor of yarn and longrope on the channels that it turns).
//
// Differs from the paper: every layer is compressed (the paper leaves out the first two).
// Differs from kvpress: it takes the norm of the rotated key in float. In layer 0 a norm depends on
// the token alone: repeated tokens tie exactly here, and the lower position wins; there the
// rounding of their rotations decides. Either choice is the same key and value at another position.
#include <cmath>

#include "compress/method.h"
#include "compress/row_norms.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

class KnormPolicy : public EvictionPolicy {
 public:
  using EvictionPolicy::EvictionPolicy;

 protected:
  KvNeeds inputs(int) const override { return {.raw_keys = true}; }

  bool scores_serve_any_ratio() const override { return true; }
  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    out.scores.resize(view.heads.size());
    parallel_for(static_cast<int64_t>(view.heads.size()), [&](int64_t h) {
      for (const double square : squared_key_norms(view, view.heads[h]))
        out.scores[h].push_back(static_cast<float>(-std::sqrt(square)));
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
