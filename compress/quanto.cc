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
#include "compress/method.h"
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
  Method method;
  method.info.name = fmt::format("quanto{}", bits);
  method.info.kind = "codec";
  method.info.doc = fmt::format(
      "Hugging Face's QuantizedCache, quanto, {} bits: groups over a whole layer", bits);
  method.info.params = {
      integer_param("group", "64", "values that share a scale and a minimum", 2),
      integer_param("residual", "128", "new rows that stay in full until all is coded again", 1),
      integer_param("axis", "0", "groups: 0 along a row and on, -1 along a channel", -1, 0)};
  method.make_codec = [bits](const Params& params, const std::string& spec) -> CodecPtr {
    LayerGroupOptions options;
    options.bits = bits;
    options.group = params.integer("group");
    options.residual = params.integer("residual");
    options.shape = params.integer("axis") == 0 ? GroupShape::kRuns : GroupShape::kChannels;
    options.decode = Decode::kScaleThenAdd;
    options.spec = spec;
    return std::make_shared<QuantoCodec>(options);
  };
  return method;
}

}  // namespace

Method quanto4_method() {
  return quanto_method(4);
}
Method quanto2_method() {
  return quanto_method(2);
}

}  // namespace kv
