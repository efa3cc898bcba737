// x^exponent for many x, rounded to float: the bits of static_cast<float>(std::pow(x, exponent)), several
// times as fast.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

namespace kv {

// The significand m of x = m 2^e lies in one of kParts parts of [1, 2), with the middle c, and
//
//   x^p = 2^(ep) c^p (1 + r)^p,  r = m / c - 1, |r| <= 1 / 128
//
// by six terms of the binomial series in double. That is off by less than kError (relative); where both
// ends of this interval round to the same float, so does the exact power, and so does std::pow. Elsewhere
// std::pow decides.
class FloatPower {
 public:
  explicit FloatPower(double exponent) : exponent_(exponent) {
    double factor = 1;
    for (int k = 0; k < kTerms; ++k) {
      factor *= (exponent - k) / (k + 1);
      terms_[k] = factor;
    }
    for (int i = 0; i < kParts; ++i) {
      const double middle = 1 + (i + 0.5) / kParts;
      inverse_middles_[i] = 1 / middle;
      powers_[i] = std::pow(middle, exponent);
    }
    for (int e = 0; e < kExponents; ++e)
      exponent_powers_[e] = std::pow(2.0, (e - kLargestExponent) * exponent);
  }

  float operator()(float x) const {
    const auto bits = std::bit_cast<uint32_t>(x);
    const int e = static_cast<int>(bits >> 23);        // and the sign
    if (e == 0 || e >= kExponents) return exactly(x);  // subnormal, inf, NaN or not above zero
    const auto m = static_cast<double>(std::bit_cast<float>((bits & 0x7fffff) | 0x3f800000));
    const int part = static_cast<int>(bits >> (23 - kPartBits)) & (kParts - 1);
    const double r = m * inverse_middles_[part] - 1;
    double series = terms_[kTerms - 1];
    for (int k = kTerms - 2; k >= 0; --k) series = series * r + terms_[k];
    const double power = exponent_powers_[e] * powers_[part] * (1 + series * r);
    const auto low = static_cast<float>(power * (1 - kError)),
               high = static_cast<float>(power * (1 + kError));
    return low == high ? low : exactly(x);
  }

 private:
  static constexpr int kPartBits = 6, kParts = 1 << kPartBits, kTerms = 6;
  static constexpr int kLargestExponent = 127, kExponents = 255;
  static constexpr double kError = 1e-13;

  float exactly(float x) const {
    return static_cast<float>(std::pow(static_cast<double>(x), exponent_));
  }

  double exponent_;
  std::array<double, kTerms> terms_;  // of r, r^2, …
  std::array<double, kParts> inverse_middles_, powers_;
  std::array<double, kExponents> exponent_powers_;
};

}  // namespace kv
