// Worked examples of policies that score by attention, from the reference's own numbers or by hand.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "compress/registry.h"
#include "engine/error.h"
#include "tests/compress/random_layer.h"

namespace kv {
namespace {

using Rows = std::vector<int32_t>;

PolicyPtr policy(const std::string& spec) {
  return parse_compressors(spec, "test").at(0).plan.policies.at(0);
}

void expect_near(const std::vector<float>& got, const std::vector<double>& want,
                 double tolerance = 2e-6) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], tolerance) << i;
}

TEST(ObservedAttention, WorkedExample) {
  RandomLayer layer({.n_tokens = 3, .n_heads = 2, .n_kv_heads = 1, .head_dim = 16});
  // Rows (1), (.5 .5), (.2 .3 .5) and (1), (.9 .1), (.6 .1 .3), added up.
  layer.set_attention_received({1.7, 0.8, 0.5, 2.5, 0.2, 0.3});
  const auto p = policy("observed_attention(ratio=0.5)");
  const LayerKeep keep = p->select(layer.view(*p));
  expect_near(keep.scores[0], {0.7, 0.25, 0.4});
  EXPECT_EQ(keep.rows[0], Rows{0});
}

// Rows kept in layer 0, 1, .. of a model.
std::vector<int> pyramid(const std::string& spec, int n_tokens, int n_layers) {
  RandomLayer layer({.n_tokens = n_tokens});
  const auto p = policy(spec);
  std::vector<int> counts;
  for (int l = 0; l < n_layers; ++l) {
    LayerView view = layer.view(*p);
    view.layer = l;
    view.n_layers = n_layers;
    counts.push_back(static_cast<int>(p->select(view).rows[0].size()));
  }
  return counts;
}

TEST(PyramidKv, BudgetsFallWithDepth) {
  const auto counts = [](double ratio) {
    return pyramid(fmt::format("pyramidkv(ratio={},window=8,beta=5)", ratio), 100, 4);
  };
  EXPECT_EQ(counts(0.25), (std::vector<int>{92, 81, 69, 58}));
  EXPECT_EQ(counts(0.5), (std::vector<int>{90, 63, 37, 10}));
  EXPECT_EQ(counts(0.75), (std::vector<int>{25, 25, 25, 25}));  // too few for a pyramid
  EXPECT_EQ(pyramid("pyramidkv(ratio=0.5)", 1000, 4), (std::vector<int>{936, 645, 355, 64}));
}

TEST(PyramidKv, ScoresAreSnapKvs) {
  RandomLayer layer({.n_tokens = 100});
  const auto pyramidkv = policy("pyramidkv(ratio=0.5,window=8)");
  const auto snapkv = policy("snapkv(ratio=0.5,window=8)");
  EXPECT_EQ(pyramidkv->select(layer.view(*pyramidkv)).scores,
            snapkv->select(layer.view(*snapkv)).scores);
  EXPECT_EQ(pyramidkv->note(4), "pyramidkv: window 8 shrunk to 3, the prompt has 4 tokens");
}

// One head whose window queries give the rows of weights: one-hot keys, queries of logarithms.
RandomLayer layer_with_weights(const std::vector<std::vector<double>>& weights) {
  constexpr int kDim = 8;
  const int n = static_cast<int>(weights[0].size()), window = static_cast<int>(weights.size());
  RandomLayer layer({.n_tokens = n, .n_heads = 1, .n_kv_heads = 1, .head_dim = kDim});
  for (int j = 0; j < n; ++j) {
    std::fill_n(layer.key(0, j), kDim, 0.0f);
    layer.key(0, j)[j] = 1;
  }
  for (int t = 0; t < window; ++t) {
    float* q = layer.query(0, n - window + t);
    std::fill_n(q, kDim, 0.0f);
    for (int j = 0; j < n; ++j) {
      q[j] = static_cast<float>(std::log(weights[t][j]) * std::sqrt(static_cast<double>(kDim)));
    }
  }
  return layer;
}

TEST(Finch, WorkedExample) {
  // The question's first query does not see its second row: 7 there is without effect.
  RandomLayer layer = layer_with_weights({{.4, .3, .1, .2, 7}, {.1, .2, .3, .2, .2}});
  const auto p = policy("finch(ratio=0.4,window=2)");
  const LayerKeep keep = p->select(layer.view(*p));
  expect_near(keep.scores[0], {0.8, 0.85, 0.75, 1.85, 1.85});
  EXPECT_EQ(keep.rows[0], (Rows{1, 3, 4}));
  EXPECT_EQ(p->positions(), Positions::kContiguous);
  const auto plain = policy("finch(ratio=0.4,window=2,normalize=false)");
  expect_near(plain->select(layer.view(*plain)).scores[0], {0.25, 0.25, 0.2, 1.25, 1.25});
}

TEST(Finch, TakesTheQuestionThatATaskMarks) {
  const auto p = policy("finch(ratio=0.4)");
  ASSERT_TRUE(p->needs_question());
  EXPECT_FALSE(policy("finch(ratio=0.4,window=2)")->needs_question());
  RandomLayer layer({.n_tokens = 50});
  const PolicyPtr marked = p->with_question(7), given = policy("finch(ratio=0.4,window=7)");
  EXPECT_EQ(marked->select(layer.view(*marked)).rows, given->select(layer.view(*given)).rows);
  EXPECT_THROW(p->with_question(0), Error);
  EXPECT_THROW(policy("finch(ratio=0.5,chunk=14)")->with_question(7), Error);
}

TEST(Finch, SlicesKeepTheirOwnBest) {
  RandomLayer layer({.n_tokens = 25});
  const auto p = policy("finch(ratio=0.5,window=3,chunk=10)");
  for (const Rows& rows : p->select(layer.view(*p)).rows) {
    EXPECT_EQ(std::lower_bound(rows.begin(), rows.end(), 10) - rows.begin(), 5);
    EXPECT_EQ(std::lower_bound(rows.begin(), rows.end(), 20) - rows.begin(), 10);
    EXPECT_EQ(rows.size(), 12u);
    EXPECT_EQ(rows.back(), 24);
  }
}

TEST(SimLayerKv, LazyLayersKeepTheEnds) {
  // The last query gives .3 to the first row and .5 to the last two before it.
  RandomLayer layer = layer_with_weights({{.3, .05, .05, .25, .25, .1}});
  const auto rows = [&](const std::string& spec) {
    const auto p = policy(spec);
    return p->select(layer.view(*p)).rows[0];
  };
  EXPECT_EQ(rows("simlayerkv(threshold=0.7,sinks=1,recent=2)"), (Rows{0, 5}));
  EXPECT_EQ(rows("simlayerkv(threshold=0.79,sinks=1,recent=2)"), (Rows{0, 5}));
  EXPECT_EQ(rows("simlayerkv(threshold=0.81,sinks=1,recent=2)").size(), 6u);
  EXPECT_EQ(rows("simlayerkv(threshold=0.5,sinks=1,recent=3)"), (Rows{0, 4, 5}));
  EXPECT_EQ(rows("simlayerkv(threshold=0.1,sinks=2,recent=3)").size(), 6u);  // too short a prompt
  EXPECT_EQ(rows("simlayerkv(threshold=0.7,sinks=1,recent=2,protect=[[2,2]])"), (Rows{0, 2, 5}));
}

TEST(NonCausalAttention, WorkedExample) {
  RandomLayer layer({.n_tokens = 3, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2});
  const float queries[3][2] = {{1, 0}, {0, 1}, {1, 1}}, keys[3][2] = {{1, 0}, {0, 1}, {2, 0}};
  const float unit[2] = {1, 0};
  for (int j = 0; j < 3; ++j) {
    std::copy_n(queries[j], 2, layer.query(0, j));
    std::copy_n(keys[j], 2, layer.key(0, j));
    std::copy_n(unit, 2, layer.value(0, j));
  }
  const auto p = policy("non_causal_attention(ratio=0.5,chunk=2)");
  // Column sums 1, 1, 1.38080; means over three neighbours; then standardised.
  const double s[] = {2 / 3.0, 3.38080 / 3, 2.38080 / 3};
  const double mean = (s[0] + s[1] + s[2]) / 3;
  double squares = 0;
  for (const double x : s) squares += (x - mean) * (x - mean);
  const double deviation = std::sqrt(squares / 2);
  expect_near(p->select(layer.view(*p)).scores[0],
              {(s[0] - mean) / deviation, (s[1] - mean) / deviation, (s[2] - mean) / deviation},
              2e-5);
}

TEST(Canary, RoundsHalfToEvenAndDecodesFromTheCount) {
  RandomLayer layer({.n_tokens = 10, .n_heads = 1, .n_kv_heads = 1, .head_dim = 16});
  const auto rows = [&](const std::string& spec) {
    const auto p = policy(spec);
    EXPECT_EQ(p->positions(), Positions::kCanary);
    return p->select(layer.view(*p)).rows[0];
  };
  EXPECT_EQ(rows("canary_streamingllm(ratio=0.25)"), (Rows{0, 1, 2, 3, 6, 7, 8, 9}));  // 7.5 -> 8
  EXPECT_EQ(rows("canary_streamingllm(ratio=0.75)"), (Rows{0, 1}));                    // 2.5 -> 2
  EXPECT_EQ(rows("canary_streamingllm(ratio=0.99)"), Rows{0});
  EXPECT_EQ(rows("canary_snapkv(ratio=0.75)"), (Rows{8, 9}));
}

TEST(Canary, SnapKvVotesWithTheWholeWindow) {
  // Means over both queries: .25 .25 .2 .2 .1; the window's own rows stay.
  RandomLayer layer = layer_with_weights({{.4, .3, .1, .2, 7}, {.1, .2, .3, .2, .2}});
  const auto p = policy("canary_snapkv(ratio=0.4,window=2)");
  const LayerKeep keep = p->select(layer.view(*p));
  EXPECT_EQ(keep.rows[0].size(), 3u);
  expect_near({keep.scores[0].begin(), keep.scores[0].begin() + 3}, {0.25, 0.25, 0.2});
}

TEST(Think, DropsTheChannelsThatQueriesAndKeysUseLeast) {
  RandomLayer layer({.n_tokens = 2, .n_heads = 2, .n_kv_heads = 1, .head_dim = 4});
  const float keys[2][4] = {{1, 2, 0, 3}, {1, 0, 4, 1}};  // mean squares 1 2 8 5
  const float query[4] = {3, 1, 1, 2};                    // squares 9 1 1 4
  for (int t = 0; t < 2; ++t) {
    std::copy_n(keys[t], 4, layer.key(0, t));
    for (int i = 0; i < 2; ++i) std::copy_n(query, 4, layer.query(i, t));
  }
  const auto dropped = [&](double ratio) {
    const auto p = policy(fmt::format("think(ratio={})", ratio));
    const LayerKeep keep = p->select(layer.view(*p));
    EXPECT_EQ(keep.rows[0], (Rows{0, 1}));
    return keep.dropped_channels.empty() ? std::vector<uint8_t>{} : keep.dropped_channels[0];
  };
  EXPECT_EQ(dropped(0.25), (std::vector<uint8_t>{0, 1, 0, 0}));  // 9 2 8 20
  EXPECT_EQ(dropped(0.7), (std::vector<uint8_t>{0, 1, 1, 0}));   // trunc(2.8)
  EXPECT_TRUE(dropped(0.2).empty());
  EXPECT_TRUE(dropped(0).empty());
}

}  // namespace
}  // namespace kv
