#include "runner/stats.h"

#include <gtest/gtest.h>

#include <cmath>

namespace kv {
namespace {

constexpr const char* kRaw = "perplexity(join=raw)";

TEST(PairedDifference, MatchesSamplesById) {
  const ScoresById cell = {
      {"a", {{"exact_match", 1}}}, {"b", {{"exact_match", 0}}}, {"x", {{"exact_match", 1}}}};
  const ScoresById none = {
      {"a", {{"exact_match", 1}}}, {"b", {{"exact_match", 1}}}, {"y", {{"exact_match", 0}}}};
  const PairedDifference d = paired_difference("passkey()", "exact_match", cell, none);
  EXPECT_EQ(d.n, 2);
  EXPECT_DOUBLE_EQ(d.value, -0.5);
  EXPECT_DOUBLE_EQ(d.interval.low, -1);
  EXPECT_DOUBLE_EQ(d.interval.high, 0);
}

// Samples that differ widely from each other but by the same amount between the cells: pairing
// shows no spread.
TEST(PairedDifference, PairingTakesTheSpreadOfSamplesOut) {
  ScoresById cell, none;
  for (int i = 0; i < 12; ++i) {
    none[std::to_string(i)] = {{"nll", i * 0.7}, {"tokens", 10}};
    cell[std::to_string(i)] = {{"nll", i * 0.7 + 0.25}, {"tokens", 10}};
  }
  const PairedDifference d = paired_difference(kRaw, "nll", cell, none);
  EXPECT_NEAR(d.value, 0.25, 1e-12);
  EXPECT_NEAR(d.interval.low, 0.25, 1e-12);
  EXPECT_NEAR(d.interval.high, 0.25, 1e-12);
}

TEST(PairedDifference, PerplexityIsPooledOverTokensFirst) {
  const ScoresById cell = {{"a", {{"nll", 1}, {"tokens", 3}, {"ppl", std::exp(1)}}},
                           {"b", {{"nll", 2}, {"tokens", 1}, {"ppl", std::exp(2)}}}};
  const ScoresById none = {{"a", {{"nll", 0}, {"tokens", 3}, {"ppl", 1}}},
                           {"b", {{"nll", 0}, {"tokens", 1}, {"ppl", 1}}}};
  EXPECT_DOUBLE_EQ(paired_difference(kRaw, "ppl", cell, none).value, std::exp(1.25) - 1);
}

TEST(PairedDifference, NothingInCommonHasNoValue) {
  const PairedDifference d = paired_difference(kRaw, "nll", {{"a", {{"nll", 1}}}}, {});
  EXPECT_EQ(d.n, 0);
  EXPECT_TRUE(std::isnan(d.value));
}

}  // namespace
}  // namespace kv
