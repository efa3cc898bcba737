// random: the baseline that keeps rows by chance.
//
//   S = uniform numbers of [0, 1), shape (n_kv_heads, n_rows) in C order, the same in every layer
//
// The numbers are torch's on a CPU in float32, so that kvpress's RandomPress with the same seed
// keeps the same rows: MT19937 started with init_genrand(seed mod 2^32), one 32-bit output x for
// each number, (x mod 2^24) / 2^24. Heads that hold different numbers of rows (after another
// policy) draw one after the other.
//
// Differs from kvpress: there is always a seed (default 0); kvpress without one draws from the
// global generator.
#include <random>

#include "compress/method.h"

namespace kv {
namespace {

class RandomPolicy : public EvictionPolicy {
 public:
  RandomPolicy(EvictionRules rules, uint64_t seed)
      : EvictionPolicy(std::move(rules)), seed_(static_cast<uint32_t>(seed)) {}

 protected:
  LayerScores score(const LayerView& view) const override {
    std::mt19937 generator(seed_);
    LayerScores out;
    for (const LayerView::HeadRows& head : view.heads) {
      std::vector<float>& scores = out.scores.emplace_back(head.n_rows);
      for (float& s : scores) {
        s = static_cast<float>(generator() & 0xFFFFFFu) * 0x1p-24f;
      }
    }
    return out;
  }

 private:
  uint32_t seed_;
};

}  // namespace

Method random_method() {
  Method method;
  method.info.name = "random";
  method.info.kind = "policy";
  method.info.kvpress_name = "Random";
  method.info.doc = "keep rows by chance";
  method.info.params = {
      integer_param("seed", "0", "of the generator, taken mod 2^32", 0, 9007199254740991.0)};
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<RandomPolicy>(std::move(rules),
                                          static_cast<uint64_t>(params.number("seed")));
  };
  return method;
}

}  // namespace kv
