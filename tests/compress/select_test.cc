#include "compress/select.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace kv {
namespace {

using Rows = std::vector<int32_t>;

TEST(RowsKept, FollowsTheRoundingOfTheReference) {
  struct Case {
    int n;
    double ratio;
    int kept;
  };
  // kvpress 0.5.5: trunc(n * (1.0 - ratio)) in double, at least 1. 1.0 - 0.9 is a little below 0.1.
  for (const Case& c : std::initializer_list<Case>{{100, 0.9, 9},
                                                   {1000, 0.9, 99},
                                                   {10, 0.9, 1},
                                                   {10, 0.8, 1},
                                                   {10, 0.7, 3},
                                                   {20, 0.3, 14},
                                                   {30, 0.9, 2},
                                                   {1000, 0.7, 300},
                                                   {4096, 0.875, 512},
                                                   {1, 0.99, 1},
                                                   {7, 0.0, 7},
                                                   {0, 0.5, 0}}) {
    EXPECT_EQ(rows_kept(c.n, c.ratio), c.kept) << c.n << " at " << c.ratio;
  }
}

TEST(TopRows, LowerPositionWinsTies) {
  const std::vector<float> scores = {1, 3, 3, 2, 3};
  EXPECT_EQ(top_rows(scores, 2, Ties::kPosition), (Rows{1, 2}));
  EXPECT_EQ(top_rows(scores, 4, Ties::kPosition), (Rows{1, 2, 3, 4}));
  EXPECT_EQ(top_rows(scores, 0, Ties::kPosition), Rows{});
  EXPECT_EQ(top_rows(scores, 5, Ties::kTorch), (Rows{0, 1, 2, 3, 4}));
}

TEST(TopRows, NanCountsAsLargest) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> scores = {1, 5, nan, 2};
  EXPECT_EQ(top_rows(scores, 1, Ties::kPosition), Rows{2});
  EXPECT_EQ(top_rows(scores, 2, Ties::kTorch), (Rows{1, 2}));
}

TEST(TopRows, OrdersAgreeWithoutTies) {
  std::vector<float> scores;
  for (int i = 0; i < 500; ++i) scores.push_back(static_cast<float>(std::sin(i * 1.7)));
  for (const int k : {1, 5, 7, 8, 100, 499}) {
    EXPECT_EQ(top_rows(scores, k, Ties::kPosition), top_rows(scores, k, Ties::kTorch)) << k;
  }
}

// StreamingLLM's scores where fewer are kept than there are sinks: kvpress on a CPU keeps {0, 1,
// 3}.
TEST(TopRows, TorchOrderAmongTies) {
  const std::vector<float> scores = {1, 1, 1, 1, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(top_rows(scores, 3, Ties::kTorch), (Rows{0, 1, 3}));
  EXPECT_EQ(top_rows(scores, 3, Ties::kPosition), (Rows{0, 1, 2}));
}

TEST(SelectRows, SinksFirstThenTheNewest) {
  const std::vector<float> scores = {0, 9, 9, 9, 9, 0, 0, 0};
  const Protection protection{.always = {}, .first = 2, .newest = 3};
  EXPECT_EQ(select_rows(scores, 1, protection, Ties::kPosition), (Rows{0}));
  EXPECT_EQ(select_rows(scores, 3, protection, Ties::kPosition), (Rows{0, 1, 7}));
  EXPECT_EQ(select_rows(scores, 5, protection, Ties::kPosition), (Rows{0, 1, 5, 6, 7}));
  EXPECT_EQ(select_rows(scores, 6, protection, Ties::kPosition), (Rows{0, 1, 2, 5, 6, 7}));
}

TEST(SelectRows, SinksAndWindowMayOverlap) {
  const std::vector<float> scores = {5, 4, 3};
  const Protection protection{.always = {}, .first = 2, .newest = 3};
  EXPECT_EQ(select_rows(scores, 2, protection, Ties::kPosition), (Rows{0, 1}));
  EXPECT_EQ(select_rows(scores, 3, protection, Ties::kPosition), (Rows{0, 1, 2}));
  EXPECT_EQ(select_rows(scores, 3, {.always = {}, .first = 100, .newest = 100}, Ties::kPosition),
            (Rows{0, 1, 2}));
}

TEST(SelectRows, ProtectedRowsStayEvenBeyondTheBudget) {
  const std::vector<float> scores = {9, 8, 7, 6, 5, 4};
  Protection protection;
  protection.always = {false, false, false, true, true, true};
  for (const Ties ties : {Ties::kPosition, Ties::kTorch}) {
    EXPECT_EQ(select_rows(scores, 2, protection, ties), (Rows{3, 4, 5}));
    EXPECT_EQ(select_rows(scores, 4, protection, ties), (Rows{0, 3, 4, 5}));
  }
}

}  // namespace
}  // namespace kv
