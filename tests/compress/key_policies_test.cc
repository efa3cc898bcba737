// Worked examples of the policies that compare keys and values, by hand and from kvpress.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "compress/registry.h"
#include "tests/compress/random_layer.h"

namespace kv {
namespace {

using Rows = std::vector<int32_t>;
using Pairs = std::vector<std::array<float, 2>>;

// What a spec decides for one KV head of two channels.
struct Decision {
  std::vector<float> scores;
  Rows rows;
};
Decision decide(const std::string& spec, const Pairs& keys, const Pairs& values) {
  const int n = static_cast<int>(keys.size());
  RandomLayer layer({.n_tokens = n, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2});
  for (int j = 0; j < n; ++j) {
    std::copy_n(keys[j].data(), 2, layer.key(0, j));
    std::copy_n(values[j].data(), 2, layer.value(0, j));
  }
  const PolicyPtr policy = parse_compressors(spec, "test").at(0).plan.policies.at(0);
  const LayerKeep keep = policy->select(layer.view(*policy));
  return {keep.scores.at(0), keep.rows.at(0)};
}

void expect_near(const std::vector<float>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-6) << i;
}

TEST(KeyDiff, WorkedExample) {
  const Pairs keys{{3, 0}, {0, 1}, {1, 1}, {0, -2}};
  const Decision d = decide("keydiff(ratio=0.5)", keys, keys);
  expect_near(d.scores, {-0.923880, -0.382683, -0.923880, 0.382683});
  EXPECT_EQ(d.rows, (Rows{1, 3}));
}

TEST(KeyDiff, TakesZeroKeys) {
  const Decision d = decide("keydiff(ratio=0.5)", {{0, 0}, {1, 0}}, {{1, 1}, {1, 1}});
  expect_near(d.scores, {0, -1});
  EXPECT_EQ(d.rows, Rows{0});
}

const Pairs kCurKeys{{1, 0}, {2, 0}, {0, 1}, {1, 1}, {3, 0}};
const Pairs kCurValues{{1, 1}, {0, 1}, {2, 0}, {1, 0}, {1, 2}};

TEST(Cur, WorkedExample) {
  const Decision d = decide("cur(ratio=0.4,sinks=1,window=2)", kCurKeys, kCurValues);
  expect_near(d.scores, {1, 0.148148, 0.148148, 0.074074, 0.555556});
  EXPECT_EQ(d.rows, (Rows{0, 1, 4}));  // rows 1 and 2 tie, the lower one stays
}

TEST(Cur, OtherLeverages) {
  // Squared norms: keys 1 4 1 2 9 (sum 17), values 2 1 4 1 5 (sum 13).
  expect_near(
      decide("cur(ratio=0.5,sinks=0,local=false,leverage=key)", kCurKeys, kCurValues).scores,
      {1 / 17.0, 4 / 17.0, 1 / 17.0, 2 / 17.0, 9 / 17.0});
  expect_near(
      decide("cur(ratio=0.5,sinks=0,local=false,leverage=value)", kCurKeys, kCurValues).scores,
      {2 / 13.0, 1 / 13.0, 4 / 13.0, 1 / 13.0, 5 / 13.0});
  expect_near(
      decide("cur(ratio=0.5,sinks=0,local=false,leverage=kv_avg)", kCurKeys, kCurValues).scores,
      {3 / 30.0, 5 / 30.0, 5 / 30.0, 3 / 30.0, 14 / 30.0});
}

const Pairs kLagKeys{{9, 9}, {0, 1}, {2, 0}, {1, 1}, {3, 2}, {0, 0}, {4, 2}, {5, 5}};
const Pairs kLagValues{{9, 9}, {1, 0}, {0, 3}, {2, 2}, {1, 4}, {1, 1}, {2, 3}, {7, 7}};

TEST(LagKv, WorkedExample) {
  const Decision ranks = decide("lagkv(ratio=0.375,sinks=1,lag=2)", kLagKeys, kLagValues);
  expect_near(ranks.scores, {1, 0, 0.5, 0, 0.5, 1, 1, 1});
  // Rows 2 and 4 tie for the last place: the lower one here, the other one in torch's order.
  EXPECT_EQ(ranks.rows, (Rows{0, 2, 5, 6, 7}));
  EXPECT_EQ(decide("lagkv(ratio=0.375,sinks=1,lag=2,ties=torch)", kLagKeys, kLagValues).rows,
            (Rows{0, 4, 5, 6, 7}));
  expect_near(decide("lagkv(ratio=0.375,sinks=1,lag=2,cross=true)", kLagKeys, kLagValues).scores,
              {1, 0.371380, 0.628620, 0.415119, 0.584881, 1, 1, 1});
}

TEST(LagKv, ShortPromptsKeepSinksAndTheNewest) {
  const Decision d = decide("lagkv(ratio=0.5,sinks=1,lag=4)", kLagKeys, kLagValues);
  expect_near(d.scores, {1, 0, 1 / 7.0, 2 / 7.0, 3 / 7.0, 4 / 7.0, 5 / 7.0, 6 / 7.0});
  EXPECT_EQ(d.rows, (Rows{0, 5, 6, 7}));
}

TEST(LagKv, SinksThenTheNewestWhereFewerStayThanAreProtected) {
  EXPECT_EQ(decide("lagkv(ratio=0.75,sinks=1,lag=2)", kLagKeys, kLagValues).rows, (Rows{0, 7}));
}

TEST(LagKv, ConstantChannelsAreNoTrap) {
  const Pairs keys(8, {1, 2});
  EXPECT_EQ(decide("lagkv(ratio=0.375,sinks=1,lag=2)", keys, keys).rows.size(), 5u);
}

}  // namespace
}  // namespace kv
