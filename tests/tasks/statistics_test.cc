#include "tasks/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace kv {
namespace {

TEST(Statistics, MeanOfNothingHasNoValue) {
  EXPECT_TRUE(std::isnan(mean({})));
  EXPECT_DOUBLE_EQ(mean(std::vector<double>{1, 2, 6}), 3);
}

// Values of the closed form, computed by hand for z = 1.959964.
TEST(Statistics, WilsonInterval) {
  const Interval half = wilson_interval(5, 10);
  EXPECT_NEAR(half.low, 0.236593, 1e-6);
  EXPECT_NEAR(half.high, 0.763407, 1e-6);
  const Interval all = wilson_interval(9, 9);
  EXPECT_NEAR(all.low, 0.700855, 1e-6);
  EXPECT_EQ(all.high, 1);
  const Interval none = wilson_interval(0, 4);
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 0.489891, 1e-6);
  EXPECT_EQ(wilson_interval(0, 0).high, 1);
}

TEST(Statistics, RandomBitsDependOnAllThreeNumbersAndNothingElse) {
  const uint64_t first = random_bits(1, 2, 3);
  EXPECT_NE(first, random_bits(2, 2, 3));
  EXPECT_NE(first, random_bits(1, 3, 3));
  EXPECT_NE(first, random_bits(1, 2, 4));
  EXPECT_EQ(first, random_bits(1, 2, 3));
}

TEST(Statistics, BootstrapOfTheMeanAgreesWithTheNormalInterval) {
  std::vector<double> values;
  for (int i = 0; i < 400; ++i) values.push_back((i * 37 % 400) / 400.0);
  const Interval interval = interval_of_mean(values);
  const double half = 1.96 * std::sqrt(1 / 12.0 / 400);  // a uniform distribution's
  EXPECT_NEAR(interval.low, mean(values) - half, 0.004);
  EXPECT_NEAR(interval.high, mean(values) + half, 0.004);
  const Interval again = interval_of_mean(values);
  EXPECT_EQ(interval.low, again.low);
  EXPECT_EQ(interval.high, again.high);
}

TEST(Statistics, EveryGroupIsDrawnOnItsOwn) {
  const std::vector<double> few = {0, 1}, many = {5, 6, 7, 8, 9};
  // Of one group: the plain bootstrap.
  const auto mean_at = [](const std::vector<double>& values, std::span<const size_t> drawn) {
    double sum = 0;
    for (size_t i : drawn) sum += values[i];
    return sum / static_cast<double>(drawn.size());
  };
  const size_t one[] = {many.size()}, both[] = {few.size(), many.size()};
  const Interval plain = bootstrap_interval(
      many.size(), [&](std::span<const size_t> drawn) { return mean_at(many, drawn); });
  const Interval same =
      stratified_bootstrap(one, [&](auto drawn) { return mean_at(many, drawn.front()); });
  EXPECT_EQ(plain.low, same.low);
  EXPECT_EQ(plain.high, same.high);
  // Of two: each draw has as many of each as there are, and they move independently.
  const Interval mixed = stratified_bootstrap(both, [&](auto drawn) {
    EXPECT_EQ(drawn[0].size(), 2u);
    EXPECT_EQ(drawn[1].size(), 5u);
    return mean_at(few, drawn[0]) + mean_at(many, drawn[1]) / 1000;
  });
  EXPECT_LT(mixed.low, 0.01);
  EXPECT_GT(mixed.high, 1);
}

TEST(Statistics, ZeroAndOneTakeWilson) {
  const std::vector<double> values = {1, 0, 1, 1};
  EXPECT_EQ(interval_of_mean(values).low, wilson_interval(3, 4).low);
}

TEST(Statistics, InfiniteAndMissingValues) {
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(interval_of_mean(std::vector<double>{inf, inf}).high, inf);
  EXPECT_TRUE(std::isnan(interval_of_mean(std::vector<double>{1.5, std::nan("")}).high));
}

}  // namespace
}  // namespace kv
