// quanto4, quanto2: Hugging Face's QuantizedCache over optimum-quanto. A layer's keys (after RoPE) and
// values are cut into groups of `group` values (layer_group_codec.h): consecutive ones with axis=0,
// consecutive rows of one channel, heads one after the other, with axis=-1. For each group
//
//   m = min, s = (max - min) / (2^bits - 1), q = clamp(round_half_even((x - m) / s), 0, 2^bits - 1)
//   stored value: s * q + m;  0 for q where s = 0
//
// in float, s and m kept as floats. The prompt is coded after its exact attention, every row of it.
// New rows stay in full; when `residual` of them are there, the whole layer is coded again: the old
// rows as their codes decode, and the new ones. So old rows lose a little more each time, as there.
//
// Differs from Hugging Face's: after a policy, what stays is coded once (kvpress codes before the
// policy, and the survivors again); heads that keep different numbers of rows are groups of the same
// flat order.
#include <algorithm>
#include <cmath>

#include "compress/layer_group_codec.h"
#include "compress/value_range.h"
#include "engine/error.h"

namespace kv {
namespace {

class QuantoCodec : public LayerGroupCodec {
 public:
  using LayerGroupCodec::LayerGroupCodec;

 protected:
  void encode_groups(const Grouped& groups, uint8_t* codes, float* scales,
                     float* offsets) const override {
    const auto top = static_cast<float>((1 << groups.bits) - 1);
    for (int64_t g = 0; g < groups.n_groups(); ++g, codes += groups.group) {
      const float* x = groups.of(g);
      const auto [lo, hi] = value_range(x, groups.group);
      scales[g] = (hi - lo) / top;
      offsets[g] = lo;
      for (int i = 0; i < groups.group; ++i) {
        const float code =
            scales[g] > 0 ? std::clamp(std::nearbyint((x[i] - lo) / scales[g]), 0.0f, top) : 0;
        codes[i] = static_cast<uint8_t>(code);
      }
    }
  }
};

Method quanto_method(int bits) {
  LayerGroupMethod about;
  about.name = fmt::format("quanto{}", bits);
  about.doc = fmt::format(
      "Hugging Face's QuantizedCache, quanto, {} bits: groups over a whole layer", bits);
  about.bits = bits;
  about.value = CodeValue::kScaleThenAdd;
  about.offset = "minimum";
  about.first_axis = GroupShape::kRuns;
  about.other_axis = -1;
  about.second_axis = GroupShape::kChannels;
  about.axis_doc = "groups: 0 along a row and on, -1 along a channel";
  about.make = [](LayerGroupOptions options) { return std::make_shared<QuantoCodec>(options); };
  return layer_group_method(about);
}

}  // namespace

Method quanto4_method() {
  return quanto_method(4);
}
Method quanto2_method() {
  return quanto_method(2);
}

}  // namespace kv
