// 16-bit floats against their definition in powers of two, over all 65536 values.
#include "kernels/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace kv::test {
namespace {

// The value that the bits mean, computed without bit tricks.
double meaning(uint16_t bits, int exponent_bits) {
  const int mantissa_bits = 15 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa == 0 ? sign * HUGE_VAL : std::numeric_limits<double>::quiet_NaN();
  }
  const double fraction = exponent == 0 ? mantissa : mantissa + (1 << mantissa_bits);
  return sign * std::ldexp(fraction, std::max(exponent, 1) - bias - mantissa_bits);
}

struct Format {
  const char* name;
  int exponent_bits;
  float (*widen)(uint16_t);
  uint16_t (*narrow)(float);
};
const Format kFormats[] = {{"f16", 5, f16_to_float, float_to_f16},
                           {"bf16", 8, bf16_to_float, float_to_bf16}};

TEST(Half, WidensAndReturnsEveryValue) {
  for (const Format& format : kFormats) {
    for (int i = 0; i < 65536; ++i) {
      const auto bits = static_cast<uint16_t>(i);
      const double expected = meaning(bits, format.exponent_bits);
      const float wide = format.widen(bits);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(wide)) << format.name << " " << i;
        ASSERT_TRUE(std::isnan(format.widen(format.narrow(wide)))) << format.name << " " << i;
        continue;
      }
      ASSERT_EQ(static_cast<double>(wide), expected) << format.name << " " << i;
      ASSERT_EQ(std::signbit(wide), (i & 0x8000) != 0) << format.name << " " << i;
      ASSERT_EQ(format.narrow(wide), bits) << format.name << " " << i;
    }
  }
}

// Between two neighbours: below, at and above the middle, where ties go to the even one.
TEST(Half, NarrowsToTheNearestAndTiesToEven) {
  for (const Format& format : kFormats) {
    const int infinity = format.exponent_bits == 5 ? 0x7c00 : 0x7f80;
    for (int i = 0; i < infinity; ++i) {
      const auto low = static_cast<uint16_t>(i), high = static_cast<uint16_t>(i + 1);
      // The step above the largest finite value is as long as the one below it.
      const double a = meaning(low, format.exponent_bits);
      const double b = i + 1 < infinity
                           ? meaning(high, format.exponent_bits)
                           : 2 * a - meaning(static_cast<uint16_t>(i - 1), format.exponent_bits);
      const auto middle = static_cast<float>((a + b) / 2);
      if (static_cast<double>(middle) != (a + b) / 2)
        continue;  // no float lies there (bf16 subnormals never)
      const uint16_t even = i % 2 == 0 ? low : high;
      ASSERT_EQ(format.narrow(middle), even) << format.name << " " << i;
      ASSERT_EQ(format.narrow(std::nextafter(middle, 0.0f)), low) << format.name << " " << i;
      const float above = std::nextafter(middle, HUGE_VALF);
      ASSERT_EQ(format.narrow(above), high) << format.name << " " << i;
      ASSERT_EQ(format.narrow(-above), high | 0x8000) << format.name << " " << i;
    }
  }
}

TEST(Half, OverflowsToInfinity) {
  EXPECT_EQ(float_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(float_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_f16(-1e30f), 0xfc00);
  EXPECT_EQ(float_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(float_to_f16(HUGE_VALF), 0x7c00);
  EXPECT_EQ(float_to_bf16(-HUGE_VALF), 0xff80);
}

}  // namespace
}  // namespace kv::test
