// What policies are shown of a prompt, against plain formulas in double; and what their decisions do
// to a cache.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "compress/registry.h"
#include "engine/compression.h"
#include "engine/cpu_clock.h"
#include "engine/session.h"
#include "kernels/parallel.h"
#include "tests/engine/random_model.h"

namespace kv {
namespace {

using testing::random_ids;
using testing::random_model;
using testing::small_config;

// Shows its view to a function and keeps everything.
class Looking : public KvPolicy {
 public:
  Looking(KvNeeds needs, std::function<void(const LayerView&)> look)
      : needs_(std::move(needs)), look_(std::move(look)) {}
  std::string spec() const override { return "looking"; }
  KvNeeds needs(int) const override { return needs_; }
  LayerKeep select(const LayerView& view) const override {
    look_(view);
    LayerKeep keep;
    for (const auto& head : view.heads) {
      auto& rows = keep.rows.emplace_back();
      for (int r = 0; r < head.n_rows; ++r) rows.push_back(r);
    }
    return keep;
  }

 private:
  KvNeeds needs_;
  std::function<void(const LayerView&)> look_;
};

CompressionPlan looking_plan(KvNeeds needs, std::function<void(const LayerView&)> look) {
  CompressionPlan plan;
  plan.policies.push_back(std::make_shared<Looking>(std::move(needs), std::move(look)));
  return plan;
}

// Element (row, channel) of keys in tiles.
float key_at(const LayerView& view, int kv_head, int row, int channel) {
  return view.heads[kv_head]
      .keys[row / kTile * view.head_dim * kTile + channel * kTile + row % kTile];
}

TEST(PolicyInputs, AttentionReceivedIsTheSumOverAllQueries) {
  const auto model = random_model(small_config());
  const std::vector<int32_t> ids = random_ids(150, model->config.vocab);
  KvNeeds needs;
  needs.keys = needs.attention_received = true;
  needs.window_queries = 150;
  int n_layers = 0;
  const auto look = [&](const LayerView& view) {
    ++n_layers;
    const int n = view.n_tokens, dim = view.head_dim;
    for (int i = 0; i < view.n_heads; ++i) {
      std::vector<double> sums(n, 0.0);
      for (int t = 0; t < n; ++t) {
        const float* q = view.window_queries + (static_cast<size_t>(i) * n + t) * dim;
        std::vector<double> weights(t + 1);
        double total = 0;
        for (int j = 0; j <= t; ++j) {
          double dot = 0;
          for (int d = 0; d < dim; ++d)
            dot += static_cast<double>(q[d]) * key_at(view, i / 3, j, d);
          total += weights[j] = std::exp(dot / std::sqrt(dim));
        }
        for (int j = 0; j <= t; ++j) sums[j] += weights[j] / total;
      }
      for (int j = 0; j < n; ++j) {
        EXPECT_NEAR(view.attention_received[i * n + j], sums[j], 2e-5) << i << " " << j;
      }
    }
  };
  const CompressionPlan plan = looking_plan(needs, look);
  Session session(model, 37);
  compress(*model, session.prefill(ids, {plain_codec("f32"), needs_of({&plan}, 150), nullptr}),
           plan);
  EXPECT_EQ(n_layers, 2);
}

TEST(PolicyInputs, OutputNormsAreThoseOfValuesTimesTheProjection) {
  const auto model = random_model(small_config());
  const std::vector<int32_t> ids = random_ids(40, model->config.vocab);
  KvNeeds needs;
  needs.values = needs.output_norms = true;
  const auto look = [&](const LayerView& view) {
    const Linear& o = model->layers[view.layer].o;
    for (int i = 0; i < view.n_heads; ++i) {
      ASSERT_EQ(view.output_norms[i].size(), 40u);
      for (int r = 0; r < 40; ++r) {
        const float* v = view.heads[i / 3].values + r * padded(view.head_dim);
        double norm = 0;
        for (int out = 0; out < model->config.dim; ++out) {
          std::vector<float> row(o.n_in());
          o.row(out, row.data());
          double dot = 0;
          for (int d = 0; d < view.head_dim; ++d) {
            dot += static_cast<double>(v[d]) * row[i * view.head_dim + d];
          }
          norm += std::abs(dot);
        }
        EXPECT_NEAR(view.output_norms[i][r], norm, 1e-4 * norm);
      }
    }
  };
  const CompressionPlan plan = looking_plan(needs, look);
  Session session(model);
  compress(*model, session.prefill(ids, {plain_codec("f32"), needs_of({&plan}, 40), nullptr}),
           plan);
}

// The repeating tokens' queries and keys come from a prompt that ends in them: they see the same rows.
TEST(PolicyInputs, RepeatScoresAreTheLargestWeightsOfEachPiece) {
  const auto model = random_model(small_config());
  const std::vector<int32_t> ids = random_ids(50, model->config.vocab);
  RepeatNeeds repeat{.sinks = 3, .chunk = 30, .plus = false, .from_model = false};
  repeat.prefix_ids = {ids[0], ids[1]};
  repeat.suffix_ids = {7, 8};
  repeat.first_ids = {1, 2, 3};
  repeat.next_ids = {4};
  KvNeeds needs;
  needs.repeats = {repeat};
  std::vector<std::vector<float>> got;  // (n_layers)(n_kv_heads * n_tokens)
  const auto take = [&](const LayerView& view) {
    got.emplace_back(view.repeat_scores, view.repeat_scores + 2 * 50);
  };
  const CompressionPlan plan = looking_plan(needs, take);
  Session session(model, 16);
  compress(*model, session.prefill(ids, {plain_codec("f32"), needs_of({&plan}, 50), nullptr}),
           plan);

  // Pieces 2 .. 31 and 32 .. 49, as the reference builds the tokens.
  const auto check = [&](int start, int end, std::vector<int32_t> tokens) {
    tokens.insert(tokens.end(), ids.begin() + start, ids.begin() + end);
    std::vector<int32_t> whole = ids;
    whole.insert(whole.end(), tokens.begin(), tokens.end());
    const int n = static_cast<int>(tokens.size()), all = static_cast<int>(whole.size());
    KvNeeds look_needs;
    look_needs.keys = true;
    look_needs.window_queries = n;
    const auto look = [&](const LayerView& view) {
      std::vector<int> columns;
      for (int j = 0; j < std::min(3, start); ++j) columns.push_back(j);
      for (int j = start; j < end; ++j) columns.push_back(j);
      const size_t before = columns.size();
      for (int j = 50; j < all; ++j) columns.push_back(j);
      std::vector<double> expected(2 * 50, 0.0);
      for (int i = 0; i < view.n_heads; ++i) {
        for (int t = 0; t < n; ++t) {
          const float* q = view.window_queries + (static_cast<size_t>(i) * n + t) * view.head_dim;
          std::vector<double> weights(before + t + 1);
          double sum = 0;
          for (size_t c = 0; c < weights.size(); ++c) {
            double dot = 0;
            for (int d = 0; d < view.head_dim; ++d)
              dot += q[d] * key_at(view, i / 3, columns[c], d);
            sum += weights[c] = std::exp(dot / 4);
          }
          for (size_t c = 0; c < before; ++c) {
            double& best = expected[i / 3 * 50 + columns[c]];
            best = std::max(best, weights[c] / sum);
          }
        }
      }
      for (int h = 0; h < 2; ++h) {
        for (int j = start; j < end; ++j) {
          EXPECT_NEAR(got[view.layer][h * 50 + j], expected[h * 50 + j], 1e-5) << h << " " << j;
        }
        EXPECT_EQ(got[view.layer][h * 50], 0);
      }
    };
    const CompressionPlan look_plan = looking_plan(look_needs, look);
    compress(*model,
             session.prefill(whole, {plain_codec("f32"), needs_of({&look_plan}, all), nullptr}),
             look_plan);
  };
  check(2, 32, {1, 2, 3, 7, 8});
  std::vector<int32_t> later = {4};
  later.insert(later.end(), ids.begin() + 24, ids.begin() + 32);
  later.insert(later.end(), {7, 8});
  check(32, 50, later);
}

std::vector<float> logits_of(Session& session, const std::vector<int32_t>& ids,
                             const std::string& spec, const std::string& kv_dtype = "f32") {
  const CompressorSpec method = parse_compressors(spec, "test").front();
  const KvNeeds needs = needs_of({&method.plan}, static_cast<int>(ids.size()));
  const PrefilledPrompt prompt = session.prefill(ids, {plain_codec(kv_dtype), needs, nullptr});
  CompressedCache cut = compress(session.model(), prompt, method.plan);
  EXPECT_EQ(cut.cache.bytes_in_use() > 0, true);
  std::vector<float> all;
  session.feed(cut.cache, random_ids(20, session.model().config.vocab, 3),
               [&](int, int n, const float* logits) {
                 all.insert(all.end(), logits,
                            logits + static_cast<size_t>(n) * session.model().config.vocab);
               });
  return all;
}

// Methods that record something of the prompt, cut heads to different lengths, or change rows.
const char* const kSpecs[] = {"observed_attention(ratio=0.5)",
                              "expected_attention(ratio=0.5)",
                              "pyramidkv(ratio=0.3,window=8)",
                              "adakv(ratio=0.6,inner=snapkv(window=16))+int4",
                              "criticaladakv(ratio=0.5,inner=snapkv(window=16))",
                              "chunkkv(ratio=0.5,inner=observed_attention)",
                              "merging(ratio=0.5,inner=knorm)",
                              "snapkv(ratio=0.5,window=16)+think(ratio=0.4)",
                              "think(ratio=0.5)+knorm(ratio=0.5)+int8",
                              "think(ratio=0.5,unit=pair)+knorm(ratio=0.5)+int8",
                              "snapkv(ratio=0.3,window=16)+think(ratio=0.7,unit=pair)",
                              "finch(ratio=0.5,window=8)",
                              "non_causal_attention(ratio=0.5,chunk=32)",
                              "cap(ratio=0.5)",
                              "kvzip(ratio=0.5,chunk=60,plus=true,prefix_ids=[],suffix_ids=[3],"
                              "repeat_first_ids=[1],repeat_next_ids=[2])",
                              "knorm(ratio=0.2)+kivi2(group=8,residual=32)",
                              "kivi4(group=16,residual=64)",
                              "int4(keys=post_rope,hadamard=true)"};

TEST(PolicyInputs, TheSameBitsForThreadsAndChunks) {
  const auto model = random_model(small_config());
  const std::vector<int32_t> ids = random_ids(150, model->config.vocab);
  for (const char* spec : kSpecs) {
    std::vector<float> first;
    for (const int threads : {1, 2}) {
      for (const int chunk : {1, 64, 500}) {
        set_threads(threads);
        Session session(model, chunk);
        const std::vector<float> logits = logits_of(session, ids, spec, "f16");
        if (first.empty()) first = logits;
        EXPECT_EQ(logits, first) << spec << ", " << threads << " threads, chunk " << chunk;
      }
    }
  }
  set_threads(2);
}

// Recording must not change a bit of the prompt's own logits.
TEST(PolicyInputs, RecordingLeavesThePromptAlone) {
  const auto model = random_model(small_config());
  const std::vector<int32_t> ids = random_ids(150, model->config.vocab);
  KvNeeds everything;
  everything.window_queries = 150;
  everything.query_statistics = {{0, false}, {4, true}};
  everything.attention_received = true;
  std::vector<float> logits[2];
  for (const bool recording : {false, true}) {
    Session session(model, 64);
    session.prefill(ids, {plain_codec("f16"), recording ? everything : KvNeeds{},
                          [&](int, int n, const float* rows) {
                            logits[recording].insert(logits[recording].end(), rows,
                                                     rows + n * model->config.vocab);
                          }});
  }
  EXPECT_EQ(logits[0], logits[1]);
}

// A mask over the prompt's rows: counted as bits, nothing copied, seen by what follows.
TEST(Think, MaskedChannelsCountOnlyForPromptRows) {
  ModelConfig config = small_config();
  config.n_layers = 1;
  const auto model = random_model(config);
  const std::vector<int32_t> ids = random_ids(40, config.vocab);
  Session session(model);
  const CompressorSpec method = parse_compressors("think(ratio=0.5,window=4)", "test").front();
  const KvNeeds needs = needs_of({&method.plan}, 40);
  const PrefilledPrompt prompt = session.prefill(ids, {plain_codec("f32"), needs, nullptr});
  CompressedCache cut = compress(*model, prompt, method.plan);
  const KvCache::Head& head = cut.cache.head(0, 1);
  ASSERT_NE(head.dropped_channels, nullptr);
  EXPECT_EQ(std::count(head.dropped_channels->begin(), head.dropped_channels->end(), 1), 8);
  EXPECT_EQ(head.masked_rows, 40);
  // A mask of 16 channels is two bytes, for each of two heads; rows stay shared with the prompt.
  EXPECT_EQ(cut.cache.bytes_in_use(), prompt.cache.bytes_in_use() + 2 * 2);
  EXPECT_TRUE(head.pages[0].same_as(prompt.cache.head(0, 1).pages[0]));

  // Later policies see the zeros.
  KvNeeds look_needs;
  look_needs.keys = true;
  const auto look = [&](const LayerView& view) {
    for (int h = 0; h < 2; ++h) {
      const auto& dropped = *cut.cache.head(0, h).dropped_channels;
      for (int d = 0; d < 16; ++d) EXPECT_EQ(key_at(view, h, 33, d) == 0, dropped[d] == 1);
    }
  };
  CompressionPlan plan = method.plan;
  plan.policies.push_back(std::make_shared<Looking>(look_needs, look));
  compress(*model, prompt, plan);
}

// Answers with the channels that another policy removed, as a mask.
class MaskInstead : public KvPolicy {
 public:
  explicit MaskInstead(PolicyPtr policy) : policy_(std::move(policy)) {}
  std::string spec() const override { return "mask"; }
  KvNeeds needs(int n_tokens) const override { return policy_->needs(n_tokens); }
  LayerKeep select(const LayerView& view) const override {
    LayerKeep keep = policy_->select(view);
    std::swap(keep.dropped_channels, keep.removed_channels);
    return keep;
  }

 private:
  PolicyPtr policy_;
};

// Pairs that are not stored give the same bits as pairs that count as 0, in fewer bytes.
TEST(Think, PairsAreReallyGone) {
  const auto model = random_model(small_config());
  const std::vector<int32_t> ids = random_ids(75, model->config.vocab),
                             later = random_ids(40, model->config.vocab, 3);
  Session session(model);
  const CompressorSpec pairs =
      parse_compressors("think(ratio=0.5,window=8,unit=pair)", "test").front();
  CompressionPlan mask = pairs.plan;
  mask.policies[0] = std::make_shared<MaskInstead>(pairs.plan.policies[0]);
  const PrefilledPrompt prompt =
      session.prefill(ids, {plain_codec("f32"), needs_of({&pairs.plan}, 75), nullptr});
  CompressedCache narrow = compress(*model, prompt, pairs.plan),
                  masked = compress(*model, prompt, mask);
  const KvCache::Head& head = narrow.cache.head(1, 1);
  ASSERT_NE(head.key_channels, nullptr);
  ASSERT_EQ(head.key_channels->size(), 8u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ((*head.key_channels)[i] + 8, (*head.key_channels)[i + 4]);
  // Half the keys are gone; the mask of 16 channels is two bytes for each of four heads.
  const size_t heads = 4, keys = heads * 75 * 16 * sizeof(float);
  EXPECT_EQ(narrow.cache.bytes_in_use(), keys / 2 + keys + heads * 2);
  EXPECT_GE(narrow.cache.bytes_allocated(), narrow.cache.bytes_in_use());
  std::vector<float> logits[2];
  KvCache* const caches[] = {&narrow.cache, &masked.cache};
  for (int i = 0; i < 2; ++i) {
    KvCache fork = caches[i]->fork();
    const auto collect = [&](int, int n, const float* rows) {
      logits[i].insert(logits[i].end(), rows, rows + n * model->config.vocab);
    };
    session.feed(fork, later, collect);
    session.feed(*caches[i], later, collect);
  }
  EXPECT_EQ(logits[0], logits[1]);
  // Later rows have all their channels.
  EXPECT_EQ(narrow.cache.bytes_in_use(), keys / 2 + keys + heads * (2 + 40 * 2 * 16 * 4));
}

TEST(Merging, MergedValuesEnterTheCache) {
  const auto model = random_model(small_config());
  const std::vector<int32_t> ids = random_ids(60, model->config.vocab);
  Session session(model);
  EXPECT_NE(logits_of(session, ids, "merging(ratio=0.5,inner=knorm)"),
            logits_of(session, ids, "knorm(ratio=0.5)"));
  EXPECT_EQ(logits_of(session, ids, "merging(ratio=0.5,inner=knorm,threshold=1)"),
            logits_of(session, ids, "knorm(ratio=0.5)"));
}

TEST(Compression, HeadsOfDifferentLengthsAreReallyShorter) {
  const auto model = random_model(small_config());
  const std::vector<int32_t> ids = random_ids(90, model->config.vocab);
  Session session(model);
  const CompressorSpec method =
      parse_compressors("adakv(ratio=0.5,inner=snapkv(window=8))", "test").front();
  const KvNeeds needs = needs_of({&method.plan}, 90);
  const PrefilledPrompt prompt = session.prefill(ids, {plain_codec("f16"), needs, nullptr});
  const CompressedCache cut = compress(*model, prompt, method.plan);
  size_t n_rows = 0;
  bool ragged = false;
  for (int layer = 0; layer < 2; ++layer) {
    for (int h = 0; h < 2; ++h) {
      EXPECT_EQ(cut.cache.head(layer, h).n_rows, static_cast<int>(cut.kept[layer][h].size()));
      n_rows += cut.kept[layer][h].size();
      ragged = ragged || cut.kept[layer][h].size() != 45;
    }
  }
  EXPECT_TRUE(ragged);
  EXPECT_EQ(n_rows, 4u * 45);
  // Rows of 16 + 16 values in 16 bits, and every head's own position list.
  EXPECT_EQ(cut.cache.bytes_in_use(), n_rows * (32 * 2 + 4));
}

TEST(PolicyInputs, TimeOfRecordingIsPartOfAPrefillAndOfNothingElse) {
  const auto model = random_model(small_config());
  const std::vector<int32_t> ids = random_ids(150, model->config.vocab);
  Session session(model);
  PrefillOptions options;
  options.codec = plain_codec("f32");
  options.needs.attention_received = true;
  const double start = process_cpu_seconds();
  PrefilledPrompt prompt = session.prefill(ids, options);
  const double all = process_cpu_seconds() - start, recording = session.seconds_recording();
  EXPECT_GT(recording, 0.0);
  EXPECT_LT(recording, all);
  session.feed(prompt.cache, ids, nullptr);
  EXPECT_EQ(session.seconds_recording(), recording);
}

}  // namespace
}  // namespace kv
