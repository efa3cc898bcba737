// Worked examples of policies around another one, from the reference's own numbers or by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compress/registry.h"
#include "compress/shared_budget.h"
#include "engine/error.h"
#include "engine/safetensors_writer.h"
#include "tests/compress/random_layer.h"
#include "tests/temp_folder.h"

namespace kv {
namespace {

using Rows = std::vector<int32_t>;

PolicyPtr policy(const std::string& spec) {
  return parse_compressors(spec, "test").at(0).plan.policies.at(0);
}

// A layer of one head to which observed_attention gives these scores.
RandomLayer scored_layer(const std::vector<double>& scores) {
  const int n = static_cast<int>(scores.size());
  RandomLayer layer({.n_tokens = n, .n_heads = 1, .n_kv_heads = 1, .head_dim = 16});
  std::vector<double> received;
  for (int j = 0; j < n; ++j) received.push_back(scores[j] * (n - j));
  layer.set_attention_received(received);
  return layer;
}

Rows kept(const std::string& spec, RandomLayer& layer) {
  const auto p = policy(spec);
  return p->select(layer.view(*p)).rows.at(0);
}

std::vector<Rows> shared(const std::vector<std::vector<float>>& scores, double ratio, double alpha,
                         Ties ties = Ties::kPosition) {
  LayerScores scored;
  scored.scores = scores;
  scored.protection.resize(scores.size());
  std::vector<int> even;
  for (const auto& head : scored.scores)
    even.push_back(rows_kept(static_cast<int>(head.size()), ratio));
  return shared_rows_kept(scored, even, alpha, ties);
}

TEST(AdaKv, WorkedExample) {
  EXPECT_EQ(shared({{.9f, .1f, .8f, .2f}, {.3f, .25f, .05f, .15f}}, 0.5, 0.2),
            (std::vector<Rows>{{0, 2}, {0, 1}}));
}

TEST(AdaKv, HeadsTakeFromEachOtherDownToTheirSafeRows) {
  const std::vector<std::vector<float>> scores = {{.9f, .8f, .7f, .6f}, {.3f, .25f, .05f, .15f}};
  EXPECT_EQ(shared(scores, 0.5, 0.2), (std::vector<Rows>{{0, 1, 2}, {0}}));
  EXPECT_EQ(shared(scores, 0.5, 0), (std::vector<Rows>{{0, 1, 2}, {0}}));  // one row in any case
  EXPECT_EQ(shared(scores, 0.5, 1), (std::vector<Rows>{{0, 1}, {0, 1}}));
  EXPECT_EQ(shared(scores, 0.5, 0.2, Ties::kTorch), (std::vector<Rows>{{0, 1, 2}, {0}}));
}

TEST(AdaKv, EqualScoresGoByRowThenHead) {
  EXPECT_EQ(shared({{1, 1, 1, 1}, {1, 1, 1, 1}}, 0.5, 0.2), (std::vector<Rows>{{0, 1}, {0, 1}}));
  EXPECT_EQ(shared({{1, 1, 1}, {1, 1, 1}}, 0.6, 0), (std::vector<Rows>{{0}, {0}}));
}

TEST(AdaKv, TheLayersTotalIsExact) {
  RandomLayer layer({.n_tokens = 90, .n_heads = 8, .n_kv_heads = 4});
  for (const char* method : {"adakv", "criticaladakv"}) {
    for (const double ratio : {0.1, 0.5, 0.9}) {
      const auto p = policy(fmt::format("{}(ratio={},inner=snapkv(window=8))", method, ratio));
      size_t total = 0;
      for (const Rows& rows : p->select(layer.view(*p)).rows) total += rows.size();
      EXPECT_EQ(total, 4u * rows_kept(90, ratio)) << method << " " << ratio;
    }
  }
}

TEST(CriticalAdaKv, HeadsHaveAdaKvsSizes) {
  RandomLayer layer({.n_tokens = 90, .n_heads = 8, .n_kv_heads = 4});
  const auto ada = policy("adakv(ratio=0.6,inner=snapkv(window=8))");
  const auto critical = policy("criticaladakv(ratio=0.6,inner=snapkv(window=8))");
  const auto a = ada->select(layer.view(*ada)).rows;
  const auto c = critical->select(layer.view(*critical)).rows;
  for (size_t h = 0; h < a.size(); ++h) EXPECT_EQ(a[h].size(), c[h].size());
  EXPECT_NE(a, c);
}

TEST(CriticalKv, WorkedExample) {
  RandomLayer layer = scored_layer({.4, .3, .2, .1, .05, .02});
  layer.set_output_norms({{1, 2, 3, 4, 0, 18}});
  const auto p = policy("criticalkv(ratio=0.5,inner=observed_attention)");
  const LayerKeep keep = p->select(layer.view(*p));
  EXPECT_EQ(keep.rows[0], (Rows{0, 1, 2}));
  const float expected[] = {.6002f, .6003f, .4004f, 0, .3618f};
  for (int j = 0; j < 5; ++j) EXPECT_NEAR(keep.scores[0][j + 1], expected[j], 2e-6);
  EXPECT_EQ(keep.scores[0][0], std::numeric_limits<float>::max());
}

const std::vector<double> kChunkScores = {.1, .2, .3, .4, .9, 0, 0, .1, .5, .6};

TEST(ChunkKv, WorkedExample) {
  RandomLayer layer = scored_layer(kChunkScores);
  EXPECT_EQ(kept("chunkkv(ratio=0.25,inner=observed_attention,chunk=4)", layer),
            (Rows{0, 1, 2, 3, 8, 9}));
  EXPECT_EQ(kept("chunkkv(ratio=0.5,inner=observed_attention,chunk=4)", layer), (Rows{8, 9}));
  // Shorter than one chunk: as the policy inside.
  EXPECT_EQ(kept("chunkkv(ratio=0.7,inner=observed_attention,chunk=11)", layer), (Rows{4, 8, 9}));
}

TEST(ChunkKv, HeadsShareTheChunks) {
  RandomLayer layer({.n_tokens = 70, .n_heads = 6, .n_kv_heads = 3});
  const auto p = policy("chunkkv(ratio=0.6,inner=snapkv(window=8),chunk=8)");
  const auto rows = p->select(layer.view(*p)).rows;
  EXPECT_EQ(rows[1], rows[0]);
  EXPECT_EQ(rows[2], rows[0]);
}

TEST(EntropyChunkKv, SpikyChunksKeepTheirPeaks) {
  // Chunks of four: flat and high; one peak, with the same sum; low ones. Medians are the second
  // smallest of three means and entropies.
  RandomLayer layer = scored_layer({.4, .4, .4, .4, 1.57, .01, .01, .01, .1, .1, .1, .1});
  // Six rows: the flat chunk whole, of the spiky one its peak, and one more of the best left.
  EXPECT_EQ(kept("entropy_chunkkv(ratio=0.5,inner=observed_attention,chunk=4,low=1)", layer),
            (Rows{0, 1, 2, 3, 4, 8}));
}

TEST(Chunk, EverySliceIsCutByItself) {
  RandomLayer layer = scored_layer(kChunkScores);
  EXPECT_EQ(kept("chunk(ratio=0.5,inner=knorm,chunk=4)", layer).size(), 5u);
  const Rows rows = kept("chunk(ratio=0.5,inner=streamingllm(sinks=1),chunk=4)", layer);
  EXPECT_EQ(rows, (Rows{0, 3, 4, 7, 8}));
  RandomLayer keys({.n_tokens = 6, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2});
  const float lengths[] = {3, 1, 2, 9, 8, 7};
  for (int j = 0; j < 6; ++j) {
    keys.key(0, j)[0] = lengths[j];
    keys.key(0, j)[1] = 0;
  }
  EXPECT_EQ(kept("chunk(ratio=0.5,inner=knorm,chunk=3)", keys), (Rows{1, 5}));
}

TEST(Block, CandidatesMeetTheNextBlock) {
  // knorm inside: the shortest keys stay, however the prompt is cut into blocks.
  RandomLayer layer({.n_tokens = 60});
  const auto whole = policy("knorm(ratio=0.7)");
  for (const int block : {1, 7, 100}) {
    const auto p = policy(fmt::format("block(ratio=0.7,inner=knorm,block={})", block));
    EXPECT_EQ(p->select(layer.view(*p)).rows, whole->select(layer.view(*whole)).rows) << block;
  }
}

TEST(PerLayer, EveryLayerHasItsRatio) {
  RandomLayer layer({.n_tokens = 20});
  const auto p = policy("per_layer(ratios=[0.5,0,0.9],inner=streamingllm(sinks=1))");
  const size_t counts[] = {10, 20, 1};
  for (int l = 0; l < 3; ++l) {
    LayerView view = layer.view(*p);
    view.layer = l;
    view.n_layers = 3;
    EXPECT_EQ(p->select(view).rows[0].size(), counts[l]);
  }
}

RandomLayer merging_layer() {
  RandomLayer layer({.n_tokens = 4, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2});
  const float keys[4][2] = {{1, 0}, {0, 2}, {1, .2f}, {3, 3}};
  const float values[4][2] = {{1, 0}, {0, 1}, {2, 0}, {4, 4}};
  for (int j = 0; j < 4; ++j) {
    std::copy_n(keys[j], 2, layer.key(0, j));
    std::copy_n(values[j], 2, layer.value(0, j));
  }
  return layer;
}

TEST(Merging, WorkedExample) {
  RandomLayer layer = merging_layer();
  const auto p = policy("merging(ratio=0.5,inner=knorm)");
  const LayerKeep keep = p->select(layer.view(*p));
  EXPECT_EQ(keep.rows[0], (Rows{0, 2}));
  const float expected[] = {1, 0, 2.65395f, 1.50244f};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(keep.values[0][i], expected[i], 1e-5) << i;
}

TEST(Merging, ThresholdAndFractionHoldBack) {
  RandomLayer layer = merging_layer();
  // Cosines to row 2: .19612 (row 1) and .83205 (row 3).
  const auto values = [&](const std::string& more) {
    const auto p = policy("merging(ratio=0.5,inner=knorm," + more + ")");
    return p->select(layer.view(*p)).values.at(0);
  };
  EXPECT_EQ(values("threshold=0.9"), (std::vector<float>{1, 0, 2, 0}));
  const std::vector<float> one = values("threshold=0.5");
  const double weight = .83205 * std::sqrt(32) / (std::sqrt(32) + 2 + 1e-6);
  EXPECT_NEAR(one[2], (2 + 4 * weight) / (1 + weight), 1e-4);
  EXPECT_NEAR(one[3], 4 * weight / (1 + weight), 1e-4);
  EXPECT_EQ(values("fraction=0.5"), one);
}

// Two layers of two heads and five rows, by kvzip's scores.
std::vector<LayerKeep> kvzip(const std::string& spec) {
  RandomLayer layer({.n_tokens = 5, .n_heads = 2, .n_kv_heads = 2, .head_dim = 16});
  const auto p = policy(spec);
  std::vector<LayerKeep> layers;
  layer.set_repeat_scores({0, .9f, .8f, .7f, .6f, 0, .5f, .1f, .1f, .2f});
  layers.push_back(p->select(layer.view(*p)));
  layer.set_repeat_scores({0, .3f, .4f, .1f, .1f, 0, .1f, .1f, .1f, .1f});
  layers.push_back(p->select(layer.view(*p)));
  p->settle(layers);
  return layers;
}

TEST(Kvzip, LayersAndHeadsKeepWhatTheyAreWorth) {
  // Of 20 rows 10 go; the sinks (row 0) stay with .9 + 1.
  const auto all = kvzip("kvzip(ratio=0.5,sinks=1)");
  EXPECT_EQ(all[0].rows, (std::vector<Rows>{{0, 1, 2, 3, 4}, {0, 1}}));
  EXPECT_EQ(all[1].rows, (std::vector<Rows>{{0, 2}, {0}}));
  EXPECT_NEAR(all[1].scores[1][0], 1.9f, 1e-6);
  const auto layerwise = kvzip("kvzip(ratio=0.5,sinks=1,layerwise=true)");
  EXPECT_EQ(layerwise[0].rows, (std::vector<Rows>{{0, 1, 2, 3}, {0}}));
  EXPECT_EQ(layerwise[1].rows, (std::vector<Rows>{{0, 1, 2}, {0, 1}}));  // equal ones: lower rows
}

TEST(Kvzip, EveryHeadKeepsARowAndWhatTheUserProtects) {
  const auto kept = kvzip("kvzip(ratio=0.8,sinks=0,protect=[[4,4]])");
  EXPECT_EQ(kept[0].rows, (std::vector<Rows>{{4}, {4}}));
  EXPECT_EQ(kept[1].rows, (std::vector<Rows>{{4}, {4}}));
  const auto few = kvzip("kvzip(ratio=0.95,sinks=0)");
  EXPECT_EQ(few[0].rows, (std::vector<Rows>{{1}, {1}}));
  EXPECT_EQ(few[1].rows, (std::vector<Rows>{{2}, {1}}));
}

TEST(Kvzip, TakesAllIdListsOrNone) {
  EXPECT_THROW(policy("kvzip(ratio=0.5,prefix_ids=[1,2])"), Error);
  const auto p = policy(
      "kvzip(ratio=0.5,prefix_ids=[],suffix_ids=[3],repeat_first_ids=[1],repeat_next_ids=[2])");
  EXPECT_FALSE(p->needs(10).repeats.at(0).from_model);
  EXPECT_TRUE(policy("kvzip(ratio=0.5)")->needs(10).repeats.at(0).from_model);
}

std::string tensor_file(const std::string& tensor, const std::vector<int64_t>& shape,
                        const std::vector<float>& values) {
  const std::string file = process_folder().path() / (tensor + ".safetensors");
  SafetensorsWriter writer;
  writer.add(tensor, shape, std::span<const float>(values));
  writer.write(file);
  return file;
}

TEST(QFilter, ScoresAlongTheFilter) {
  RandomLayer layer({.n_tokens = 3, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2});
  const float keys[3][2] = {{1, 1}, {0, -2}, {3, 1}};
  for (int j = 0; j < 3; ++j) std::copy_n(keys[j], 2, layer.key(0, j));
  const std::string file = tensor_file("q_filters", {1, 1, 2}, {1, -2});
  const auto p = policy("qfilter(ratio=0.5,filters='" + file + "')");
  const LayerKeep keep = p->select(layer.view(*p));
  EXPECT_EQ(keep.scores[0], (std::vector<float>{1, -4, -1}));
  EXPECT_EQ(keep.rows[0], Rows{0});
  const ModelShape other{.n_layers = 2, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2};
  EXPECT_THROW(p->check_model(other), Error);
  EXPECT_THROW(policy("qfilter(ratio=0.5,filters=no/such.safetensors)"), Error);
}

TEST(LuKv, HeadsFollowTheCurve) {
  std::vector<float> curves(99 * 2);
  for (int point = 0; point < 99; ++point) {
    curves[point * 2] = 0.3f;
    curves[point * 2 + 1] = point == 49 ? 0.68f : 0.9f;
  }
  const std::string file = tensor_file("curves", {99, 1, 2}, curves);
  RandomLayer layer({.n_tokens = 20});
  const auto counts = [&](double ratio) {
    const auto p = policy(fmt::format("lukv(ratio={},inner=knorm,curves='{}')", ratio, file));
    const LayerKeep keep = p->select(layer.view(*p));
    for (const Rows& rows : keep.rows) {
      if (rows.size() < 5) continue;
      EXPECT_EQ((Rows{rows.begin(), rows.begin() + 4}), (Rows{0, 1, 2, 3}));
      EXPECT_EQ(rows.back(), 19);
    }
    return std::vector<size_t>{keep.rows[0].size(), keep.rows[1].size()};
  };
  EXPECT_EQ(counts(0.5), (std::vector<size_t>{14, 6}));  // 14 and 6.4, together 20
  EXPECT_EQ(counts(0.6), (std::vector<size_t>{14, 2}));
  const auto p = policy("lukv(ratio=0.5,inner=knorm,curves='" + file + "')");
  const ModelShape other{.n_layers = 3, .n_heads = 4, .n_kv_heads = 2, .head_dim = 16};
  EXPECT_THROW(p->check_model(other), Error);
}

}  // namespace
}  // namespace kv
