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

Aggregate share(int successes, int n) {
  const Interval interval = wilson_interval(successes, n);
  return {static_cast<double>(successes) / n, interval.low, interval.high, n};
}

TEST(ScaleEnd, TheIntervalDecides) {
  EXPECT_EQ(scale_end(share(0, 9)), ScaleEnd::kFloor);
  EXPECT_EQ(scale_end(share(1, 9)), ScaleEnd::kNone);
  EXPECT_EQ(scale_end(share(9, 9)), ScaleEnd::kCeiling);
  EXPECT_EQ(scale_end(share(39, 40)), ScaleEnd::kCeiling);
  EXPECT_EQ(scale_end(share(38, 40)), ScaleEnd::kNone);
  EXPECT_EQ(scale_end({0.5, 0.4, 0.6, 20}), ScaleEnd::kNone);
}

TEST(FirstDivergence, CountsEqualTokens) {
  EXPECT_EQ(first_divergence({1, 2}, {1, 2}), std::nullopt);
  EXPECT_EQ(first_divergence({1, 2, 3}, {1, 2, 4}), 2);
  EXPECT_EQ(first_divergence({1, 2}, {1, 2, 3}), 2);  // one ends where the other goes on
  EXPECT_EQ(first_divergence({}, {7}), 0);
}

TEST(CommonBeginning, EndsBetweenCharacters) {
  EXPECT_EQ(common_beginning("abcd", "abXd"), 2u);
  // \u00e9 and \u00e8 share their first byte: the character differs, not its half.
  EXPECT_EQ(common_beginning("\xC3\xA4\xC3\xA9", "\xC3\xA4\xC3\xA8"), 2u);
}

TEST(CompareAnswers, SharesPlacesAndLengths) {
  const AnswersById full = {{"a", {"one two", {1, 2, 3, 4}, 4}},
                            {"b", {"three", {5, 6, 7, 8}, 4}},
                            {"c", {"four five", {1, 1, 1, 1, 1, 1, 1, 1}, 8}},
                            {"y", {"", {9}, 1}}};
  const AnswersById cell = {{"a", {"one two", {1, 2, 3, 4}, 4}},
                            {"b", {"thro", {5, 6}, 2}},
                            {"c", {"four x", {1, 2}, 2}},
                            {"z", {"", {9}, 1}}};
  const AnswerComparison c = compare_answers(cell, full);
  EXPECT_EQ(c.n, 3);
  EXPECT_EQ(c.n_diverging, 2);
  EXPECT_DOUBLE_EQ(c.same.value, 1.0 / 3);
  EXPECT_DOUBLE_EQ(c.same.ci_low, wilson_interval(1, 3).low);
  EXPECT_DOUBLE_EQ(c.first_divergence, (2 + 1) / 2.0);
  EXPECT_GE(c.first_divergence_interval.low, 1);
  EXPECT_LE(c.first_divergence_interval.high, 2);
  EXPECT_DOUBLE_EQ(c.length_ratio, 8.0 / 16);
  EXPECT_LE(c.length_ratio_interval.low, 0.5);
  EXPECT_GE(c.length_ratio_interval.high, 0.5);
}

// Records of before ids were written still say whether the text is the same.
TEST(CompareAnswers, WithoutIdsThereIsNoPlace) {
  const AnswerComparison c = compare_answers({{"a", {"x", {}, 1}}}, {{"a", {"y", {}, 1}}});
  EXPECT_EQ(c.same.value, 0);
  EXPECT_EQ(c.n_diverging, 0);
  EXPECT_TRUE(std::isnan(c.first_divergence));
}

TEST(CompareAnswers, NothingInCommonHasNoValue) {
  const AnswerComparison c = compare_answers({{"a", {"x", {1}, 1}}}, {});
  EXPECT_EQ(c.n, 0);
  EXPECT_TRUE(std::isnan(c.same.value));
  EXPECT_TRUE(std::isnan(c.length_ratio));
}

TEST(CompareAnswers, AFullCacheThatSaysNothingGivesNoRatio) {
  EXPECT_TRUE(
      std::isnan(compare_answers({{"a", {"x", {1}, 1}}}, {{"a", {"", {}, 0}}}).length_ratio));
}

}  // namespace
}  // namespace kv
