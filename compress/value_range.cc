#include "compress/value_range.h"

#include <algorithm>
#include <limits>

namespace kv {

// The lanes only save time: the result is the same in any order.
ValueRange value_range(const float* x, int n) {
  constexpr int kWidth = 8;
  float lo[kWidth], hi[kWidth];
  int nan[kWidth] = {};
  std::fill_n(lo, kWidth, std::numeric_limits<float>::infinity());
  std::fill_n(hi, kWidth, -std::numeric_limits<float>::infinity());
  const auto take = [&](int lane, float v) {
    lo[lane] = v < lo[lane] ? v : lo[lane];
    hi[lane] = v > hi[lane] ? v : hi[lane];
    nan[lane] |= static_cast<int>(v != v);
  };
  int i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    for (int lane = 0; lane < kWidth; ++lane) take(lane, x[i + lane]);
  }
  for (; i < n; ++i) take(i % kWidth, x[i]);
  if (std::any_of(nan, nan + kWidth, [](int found) { return found != 0; })) {
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    return {kNan, kNan};
  }
  return {*std::min_element(lo, lo + kWidth), *std::max_element(hi, hi + kWidth)};
}

}  // namespace kv
