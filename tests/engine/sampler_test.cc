// Sampling: greedy ties, the nucleus, draws that depend on nothing but their counters.
#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "engine/error.h"

namespace kv {
namespace {

TEST(Sampler, GreedyTakesTheLowestIdOfATie) {
  const std::vector<float> row = {1, 3, 2, 3};
  EXPECT_EQ(Sampler({}).next(row.data(), 4, 0, 0), 1);
}

TEST(Sampler, DrawsFollowTheProbabilities) {
  // Probabilities 0.5, 0.25, 0.25 at temperature 1; at temperature 0.5 they are 2/3, 1/6, 1/6.
  const std::vector<float> row = {std::log(2.0f), 0, 0};
  for (const double temperature : {1.0, 0.5}) {
    Sampler sampler({temperature, 1, 7});
    std::array<int, 3> counts{};
    constexpr int kDraws = 20000;
    for (int step = 0; step < kDraws; ++step) ++counts[sampler.next(row.data(), 3, 0, step)];
    const double expected = temperature == 1.0 ? 0.5 : 2.0 / 3;
    EXPECT_NEAR(counts[0] / static_cast<double>(kDraws), expected, 0.015);
    EXPECT_NEAR(counts[1] / static_cast<double>(kDraws), (1 - expected) / 2, 0.015);
  }
}

TEST(Sampler, TheNucleusIsTheSmallestSetThatReachesTopP) {
  const std::vector<float> row = {0, std::log(2.0f), 0};  // probabilities 0.25, 0.5, 0.25
  Sampler one({1, 0.5, 3}), two({1, 0.6, 3});
  bool saw_first = false;
  for (int step = 0; step < 500; ++step) {
    EXPECT_EQ(one.next(row.data(), 3, 0, step), 1);
    const int32_t id = two.next(row.data(), 3, 0, step);
    EXPECT_NE(id, 2);  // equal to id 0, which comes first
    saw_first |= id == 0;
  }
  EXPECT_TRUE(saw_first);
}

TEST(Sampler, DrawsDependOnSeedSampleAndStepOnly) {
  EXPECT_EQ(counter_random(1, 2, 3), counter_random(1, 2, 3));
  EXPECT_NE(counter_random(1, 2, 3), counter_random(2, 2, 3));
  EXPECT_NE(counter_random(1, 2, 3), counter_random(1, 3, 3));
  EXPECT_NE(counter_random(1, 2, 3), counter_random(1, 2, 4));
  for (uint64_t step = 0; step < 1000; ++step) {
    const double u = counter_random(0, 0, step);
    EXPECT_GE(u, 0);
    EXPECT_LT(u, 1);
  }
}

TEST(Sampler, RefusesBadOptions) {
  EXPECT_THROW(Sampler({-1, 1, 0}), Error);
  EXPECT_THROW(Sampler({1, 0, 0}), Error);
  EXPECT_THROW(Sampler({1, 1.5, 0}), Error);
  EXPECT_THROW(Sampler({std::nan(""), 1, 0}), Error);
}

}  // namespace
}  // namespace kv
