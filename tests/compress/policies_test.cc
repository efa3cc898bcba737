// Worked examples of single policies, from the reference's own numbers or by hand.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "compress/registry.h"
#include "tests/compress/random_layer.h"

namespace kv {
namespace {

using Rows = std::vector<int32_t>;

PolicyPtr policy(const std::string& spec) {
  const auto specs = parse_compressors(spec, "test");
  EXPECT_EQ(specs.size(), 1u);
  return specs.at(0).plan.policies.at(0);
}

TEST(Random, DrawsTorchsNumbers) {
  RandomLayer layer({.n_tokens = 3, .n_heads = 2, .n_kv_heads = 2, .head_dim = 16});
  const auto p = policy("random(ratio=0.5,seed=42)");
  const LayerKeep keep = p->select(layer.view(*p));
  // torch.manual_seed(42); torch.rand(1, 2, 3)
  EXPECT_FLOAT_EQ(keep.scores[0][0], 0.88226926f);
  EXPECT_FLOAT_EQ(keep.scores[0][1], 0.91500396f);
  EXPECT_FLOAT_EQ(keep.scores[0][2], 0.38286376f);
  EXPECT_FLOAT_EQ(keep.scores[1][0], 0.95930564f);
  EXPECT_EQ(keep.rows[0], Rows{1});
}

TEST(Random, SeedIsTakenModulo32Bits) {
  RandomLayer layer({});
  const auto a = policy("random(ratio=0.5,seed=7)"),
             b = policy("random(ratio=0.5,seed=4294967303)");
  EXPECT_EQ(a->select(layer.view(*a)).rows, b->select(layer.view(*b)).rows);
}

TEST(Knorm, KeepsTheSmallestNorms) {
  RandomLayer layer({.n_tokens = 4, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2});
  const float keys[4][2] = {{3, 4}, {1, 0}, {0, 2}, {5, 12}};
  for (int p = 0; p < 4; ++p) std::copy_n(keys[p], 2, layer.key(0, p));
  const auto p = policy("knorm(ratio=0.5)");
  const LayerKeep keep = p->select(layer.view(*p));
  EXPECT_EQ(keep.rows[0], (Rows{1, 2}));
  EXPECT_EQ(keep.scores[0], (std::vector<float>{-5, -1, -2, -13}));
}

TEST(StreamingLlm, KeepsSinksAndTheNewest) {
  RandomLayer layer({.n_tokens = 10, .n_heads = 1, .n_kv_heads = 1, .head_dim = 16});
  const auto kept = [&](const std::string& spec) {
    const auto p = policy(spec);
    return p->select(layer.view(*p)).rows[0];
  };
  EXPECT_EQ(kept("streamingllm(ratio=0.5)"), (Rows{0, 1, 2, 3, 9}));
  EXPECT_EQ(kept("streamingllm(ratio=0.5,sinks=1)"), (Rows{0, 6, 7, 8, 9}));
  EXPECT_EQ(kept("streamingllm(ratio=0.5,sinks=0)"), (Rows{5, 6, 7, 8, 9}));
  EXPECT_EQ(kept("streamingllm(ratio=0.7)"), (Rows{0, 1, 2}));
  EXPECT_EQ(kept("streamingllm(ratio=0.7,ties=torch)"), (Rows{0, 1, 3}));  // as kvpress
  EXPECT_EQ(kept("streamingllm(ratio=0.99)"), (Rows{0}));
  EXPECT_EQ(kept("streamingllm(ratio=0.5,sinks=100)"), (Rows{0, 1, 2, 3, 4}));
  // Protected rows take the place of the newest but one.
  EXPECT_EQ(kept("streamingllm(ratio=0.4,protect=[[6,6]])"), (Rows{0, 1, 2, 3, 6, 9}));
}

// Keys such that exp(q . k / sqrt(D)) are given numbers: one-hot keys, queries of logarithms.
void set_weights(RandomLayer& layer, int head_dim, int n_tokens, int window,
                 const std::vector<std::vector<std::vector<double>>>& weights) {
  for (int j = 0; j < n_tokens; ++j) {
    for (int d = 0; d < head_dim; ++d) layer.key(0, j)[d] = d == j ? 1.0f : 0.0f;
  }
  for (size_t head = 0; head < weights.size(); ++head) {
    for (int t = 0; t < window; ++t) {
      float* q = layer.query(static_cast<int>(head), n_tokens - window + t);
      for (int d = 0; d < head_dim; ++d) {
        q[d] = d < n_tokens
                   ? static_cast<float>(std::log(weights[head][t][d]) * std::sqrt(head_dim))
                   : 0.0f;
      }
    }
  }
}

// The example of section 3.3: rows restricted to the first five columns are .4 .1 .1 .1 .1 and .2
// .1 .3 .1 .1 in head 0, .1 .1 .1 .5 .1 and .1 .1 .1 .3 .2 in head 1; what a row lacks to 1 falls
// on the window.
RandomLayer worked_layer() {
  RandomLayer layer({.n_tokens = 7, .n_heads = 2, .n_kv_heads = 1, .head_dim = 8});
  // The first window row must not see the last key: any weight there has to be without effect.
  set_weights(layer, 8, 7, 2,
              {{{.4, .1, .1, .1, .1, .2, 55}, {.2, .1, .3, .1, .1, .1, .1}},
               {{.1, .1, .1, .5, .1, .1, 55}, {.1, .1, .1, .3, .2, .1, .1}}});
  return layer;
}

TEST(SnapKv, WorkedExample) {
  RandomLayer layer = worked_layer();
  const auto p = policy("snapkv(ratio=0.5,window=2,kernel=3,pooling=avg)");
  const LayerKeep keep = p->select(layer.view(*p));
  const float expected[] = {0.1f, 0.15f, 0.1666667f, 0.175f, 0.125f, 1.175f, 1.175f};
  for (int j = 0; j < 7; ++j) EXPECT_NEAR(keep.scores[0][j], expected[j], 1e-6) << j;
  EXPECT_EQ(keep.rows[0], (Rows{3, 5, 6}));
}

TEST(Tova, WorkedExample) {
  RandomLayer layer = worked_layer();
  const auto p = policy("tova(ratio=0.5)");
  const LayerKeep keep = p->select(layer.view(*p));
  const float expected[] = {0.15f, 0.1f, 0.2f, 0.2f, 0.15f, 0.1f, 1.2f};
  for (int j = 0; j < 7; ++j) EXPECT_NEAR(keep.scores[0][j], expected[j], 1e-6) << j;
  EXPECT_EQ(keep.rows[0], (Rows{2, 3, 6}));
}

TEST(Tova, EveryKvHeadKeepsTheSameRows) {
  RandomLayer layer({.n_tokens = 30, .n_heads = 6, .n_kv_heads = 3, .head_dim = 16});
  const auto p = policy("tova(ratio=0.7)");
  const LayerKeep keep = p->select(layer.view(*p));
  EXPECT_EQ(keep.rows[1], keep.rows[0]);
  EXPECT_EQ(keep.rows[2], keep.rows[0]);
  EXPECT_EQ(keep.rows[0].back(), 29);
}

TEST(SnapKv, MaxPooling) {
  RandomLayer layer = worked_layer();
  const auto p = policy("snapkv(ratio=0.5,window=2,kernel=3)");
  const LayerKeep keep = p->select(layer.view(*p));
  // Means over the window: .3 .1 .2 .1 .1 and .1 .1 .1 .4 .15; their maxima over three: .3 .3 .2 .2
  // .1 and .1 .1 .4 .4 .4.
  const float expected[] = {0.2f, 0.2f, 0.3f, 0.3f, 0.25f, 1.3f, 1.3f};
  for (int j = 0; j < 7; ++j) EXPECT_NEAR(keep.scores[0][j], expected[j], 1e-6) << j;
  EXPECT_EQ(keep.rows[0], (Rows{2, 5, 6}));
}

// The reference's example: queries (5,5) (1,0) (0,1) (1,2), one frequency of 1.
RandomLayer future_layer() {
  RandomLayer layer({.n_tokens = 4, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2});
  const float queries[4][2] = {{5, 5}, {1, 0}, {0, 1}, {1, 2}};
  const float keys[4][2] = {{7, 7}, {1, 0}, {0, 2}, {-1, 1}};
  const float values[4][2] = {{1, 1}, {1, 0}, {0, 2}, {3, 4}};
  for (int j = 0; j < 4; ++j) {
    std::copy_n(queries[j], 2, layer.query(0, j));
    std::copy_n(keys[j], 2, layer.key(0, j));
    std::copy_n(values[j], 2, layer.value(0, j));
  }
  layer.set_inv_freq({1});
  return layer;
}

TEST(ExpectedAttention, WorkedExample) {
  RandomLayer layer = future_layer();
  const auto scores = [&](const std::string& spec) {
    const auto p = policy(spec);
    return p->select(layer.view(*p)).scores.at(0);
  };
  const std::vector<float> both = scores("expected_attention(ratio=0.5,future=2,sinks=1)");
  const std::vector<float> mean_only =
      scores("expected_attention(ratio=0.5,future=2,sinks=1,covariance=false)");
  const float expected[] = {1.779862f, 0.693551f, 0.300954f, 0.779862f};
  const float expected_mean_only[] = {1.734190f, 0.708628f, 0.289069f, 0.734190f};
  for (int j = 0; j < 4; ++j) {
    EXPECT_NEAR(both[j], expected[j], 2e-6) << j;
    EXPECT_NEAR(mean_only[j], expected_mean_only[j], 2e-6) << j;
  }
  // Norms of the values are 1, 2, 5; the weights of the second case without them.
  const std::vector<float> bare =
      scores("expected_attention(ratio=0.5,future=2,sinks=1,covariance=false,vnorm=false)");
  EXPECT_NEAR(bare[2], 0.289069f / 2, 2e-6);
  const std::vector<float> raised =
      scores("expected_attention(ratio=0.5,future=2,sinks=1,covariance=false,epsilon=0.5)");
  EXPECT_NEAR(raised[3], 0.734190f + 2.5f, 2e-6);
}

TEST(ExpectedAttention, ShortPromptsKeepTheSinks) {
  RandomLayer layer({.n_tokens = 4});
  const auto p = policy("expected_attention(ratio=0.5)");
  for (const Rows& rows : p->select(layer.view(*p)).rows) EXPECT_EQ(rows, (Rows{0, 1}));
}

TEST(SnapKv, KeepsTheNewestOfAWindowThatIsTooLarge) {
  RandomLayer layer({.n_tokens = 20});
  const auto p = policy("snapkv(ratio=0.8,window=8)");
  for (const auto& rows : p->select(layer.view(*p)).rows) EXPECT_EQ(rows, (Rows{17, 18, 19}));
}

TEST(SnapKv, WindowShrinksOnShortPromptsWithANote) {
  const auto p = policy("snapkv(ratio=0.5)");
  EXPECT_EQ(p->note(65), "");
  EXPECT_EQ(p->note(64), "snapkv: window 64 shrunk to 63, the prompt has 64 tokens");
  EXPECT_EQ(p->needs(16).window_queries, 15);
  EXPECT_EQ(policy("snapkv(ratio=0)")->note(5), "");
  EXPECT_EQ(policy("snapkv(ratio=0)")->needs(100).window_queries, 0);
}

TEST(SnapKv, WindowRowsAreThoseOfItsTokensAfterAFormerPolicy) {
  RandomLayer layer({.n_tokens = 20});
  layer.keep(0, {0, 3, 5, 7, 9, 11, 17, 19});  // of the window 16 .. 19 two are left
  layer.keep(1, {17, 18});                     // nothing but the window
  const auto p = policy("snapkv(ratio=0.5,window=4)");
  const LayerKeep keep = p->select(layer.view(*p));
  EXPECT_EQ(keep.rows[0].size(), 4u);
  EXPECT_EQ(keep.rows[0][2], 6);
  EXPECT_EQ(keep.rows[0][3], 7);
  EXPECT_EQ(keep.rows[1], (Rows{1}));
}

}  // namespace
}  // namespace kv
