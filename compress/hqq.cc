// hqq8, hqq4, hqq3, hqq2, hqq1: Hugging Face's QuantizedCache over HQQ (Badri and Shaji 2023,
// "Half-Quadratic Quantization of Large Machine Learning Models"), as release 0.2.8 computes it. A
// layer's keys (after RoPE) and values are cut into groups of `group` values (layer_group_codec.h):
// of all n values those n / group apart with axis=0 (so a group mixes heads and rows), consecutive
// ones with axis=1. For each group, in float,
//
//   s = (2^bits - 1) / (max - min), at most 2e4; 1 where max - min <= 1e-4
//   z = -min * s
//
// and then up to 20 steps that move z so that most errors shrink at the cost of a few (p = 0.7,
// b = 10):
//
//   q = clamp(round_half_even(x * s + z), 0, 2^bits - 1),  r = (q - z) / s
//   e = sign(x - r) max(|x - r| - |x - r|^(p - 1) / b, 0)
//   z = mean over the group of q - (x - e) * s
//
// until the mean of |x - r| over the whole layer falls no more. Stored: q by the last z, z and 1 / s;
// value: (q - z) * (1 / s).
//
// The prompt is coded after its exact attention; `residual` is as in quanto.cc, and so are the
// differences. Means are taken in double. HQQ's own packing cannot hold 3 bits with axis=1, nor
// numbers of groups that do not fill its words; ours holds all.
#include <algorithm>
#include <cmath>
#include <limits>

#include "compress/float_power.h"
#include "compress/layer_group_codec.h"
#include "compress/value_range.h"
#include "engine/error.h"

namespace kv {
namespace {

constexpr int kSteps = 20;
constexpr int kChunk = 64;
constexpr float kBeta = 10, kNorm = 0.7f;
// Errors up to this one shrink to 0: |y|^1.3 <= 1 / kBeta there.
constexpr float kShrinksToZero = 0.17f;

// Clamped before it is rounded, which is the same, so that adding 1.5 * 2^23 rounds to the nearest
// integer, ties to even. NaN stays NaN.
float code_of(float x, float scale, float zero, float top) {
  constexpr float kRound = 12582912.0f;
  float code = x * scale + zero;
  code = code < 0 ? 0 : code;
  code = code > top ? top : code;
  return code + kRound - kRound;
}

float shrink(float y) {
  static const FloatPower power(static_cast<double>(kNorm) - 1);
  const float size = std::abs(y);
  if (size <= kShrinksToZero) return 0;
  const float rest = std::max(size - (1 / kBeta) * power(size), 0.0f);
  return std::copysign(rest, y);
}

// One step for one group: the new z, and the sum of |x - r| under the old one.
struct Step {
  float zero;
  double error;
};
Step refine(const float* x, int n, float scale, float zero, float top) {
  double error = 0, sum = 0;
  float codes[kChunk], misses[kChunk];
  for (int first = 0; first < n; first += kChunk, x += kChunk) {
    const int count = std::min(kChunk, n - first);
    for (int i = 0; i < count; ++i) {  // apart from the sums, which have an order: several at once
      codes[i] = code_of(x[i], scale, zero, top);
      misses[i] = x[i] - (codes[i] - zero) / scale;
    }
    for (int i = 0; i < count; ++i) {
      error += std::abs(misses[i]);
      sum += codes[i] - (x[i] - shrink(misses[i])) * scale;
    }
  }
  return {static_cast<float>(sum / n), error};
}

class HqqCodec : public LayerGroupCodec {
 public:
  using LayerGroupCodec::LayerGroupCodec;

 protected:
  void encode_groups(const Grouped& groups, uint8_t* codes, float* scales,
                     float* offsets) const override {
    const auto top = static_cast<float>((1 << groups.bits) - 1);
    const int64_t n_groups = groups.n_groups();
    for (int64_t g = 0; g < n_groups; ++g) {
      const auto [lo, hi] = value_range(groups.of(g), groups.group);
      scales[g] = hi - lo <= 1e-4f ? 1.0f : std::min(top / (hi - lo), 2e4f);
      offsets[g] = -lo * scales[g];
    }
    float best = std::numeric_limits<float>::infinity();
    for (int step = 0; step < kSteps; ++step) {
      double error = 0;
      for (int64_t g = 0; g < n_groups; ++g) {
        const Step next = refine(groups.of(g), groups.group, scales[g], offsets[g], top);
        offsets[g] = next.zero;
        error += next.error;
      }
      const auto mean = static_cast<float>(error / static_cast<double>(groups.x.size()));
      if (!(mean < best)) break;
      best = mean;
    }
    for (int64_t g = 0; g < n_groups; ++g, codes += groups.group) {
      for (int i = 0; i < groups.group; ++i) {
        const float code = code_of(groups.of(g)[i], scales[g], offsets[g], top);
        codes[i] = std::isnan(code) ? 0 : static_cast<uint8_t>(code);
      }
      scales[g] = 1 / scales[g];
    }
  }
};

Method hqq_method(int bits) {
  LayerGroupMethod about;
  about.name = fmt::format("hqq{}", bits);
  about.doc =
      fmt::format("Hugging Face's QuantizedCache, HQQ, {} bits: groups over a whole layer", bits);
  about.bits = bits;
  about.value = CodeValue::kSubtractThenScale;
  about.offset = "zero";
  about.first_axis = GroupShape::kColumns;
  about.other_axis = 1;
  about.second_axis = GroupShape::kRuns;
  about.axis_doc = "groups: 0 across heads and rows, 1 along a row and on";
  about.make = [](LayerGroupOptions options) { return std::make_shared<HqqCodec>(options); };
  return layer_group_method(about);
}

}  // namespace

Method hqq8_method() {
  return hqq_method(8);
}
Method hqq4_method() {
  return hqq_method(4);
}
Method hqq3_method() {
  return hqq_method(3);
}
Method hqq2_method() {
  return hqq_method(2);
}
Method hqq1_method() {
  return hqq_method(1);
}

}  // namespace kv
