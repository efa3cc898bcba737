#include "compress/float_power.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace kv::test {
namespace {

void expect_power(const FloatPower& power, double exponent, float x) {
  const float expected = static_cast<float>(std::pow(static_cast<double>(x), exponent));
  const float found = power(x);
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(found)) << x;
  } else {
    ASSERT_EQ(std::bit_cast<uint32_t>(found), std::bit_cast<uint32_t>(expected))
        << x << "^" << exponent;
  }
}

TEST(FloatPower, GivesTheBitsOfPow) {
  for (const double exponent : {static_cast<double>(0.7f) - 1, -0.3, 0.5, 1.0 / 3, -1.75}) {
    const FloatPower power(exponent);
    // Every exponent of a float, with significands that a stride spreads over all parts.
    for (uint32_t bits = 0; bits < 0x7f800000u; bits += 7919) {
      expect_power(power, exponent, std::bit_cast<float>(bits));
      if (HasFatalFailure()) return;
    }
  }
}

TEST(FloatPower, LeavesWhatIsNoPositiveNumberToPow) {
  const FloatPower power(-0.3);
  for (const float x :
       {0.0f, -0.0f, -2.0f, std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::denorm_min()})
    expect_power(power, -0.3, x);
}

}  // namespace
}  // namespace kv::test
