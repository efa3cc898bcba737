// Layers with a sliding window: what they hold, that no cut into passes shows, and what policies and
// saved caches make of them.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "compress/registry.h"
#include "engine/compression.h"
#include "engine/saved_cache.h"
#include "engine/session.h"
#include "tests/engine/file_testing.h"
#include "tests/engine/random_model.h"

namespace kv {
namespace {

constexpr int kWindow = 70;

// Layers that slide, see all, slide; the sliding ones rotate by another base.
ModelConfig mixed_config() {
  ModelConfig c = testing::small_config();
  c.n_layers = 3;
  c.layers.assign(3, LayerConfig{kWindow, LayerRope::kSliding});
  c.layers[1] = {};
  c.sliding_rope.theta = 500.0;
  return c;
}

std::shared_ptr<const Model> mixed_model() {
  static const auto model = testing::random_model(mixed_config());
  return model;
}

CompressorSpec spec_of(const std::string& text) {
  return parse_compressors(text, "test").front();
}

PrefilledPrompt prefill(Session& session, const std::vector<int32_t>& ids,
                        const CompressionPlan& plan = {}) {
  PrefillOptions options;
  options.codec = plain_codec("f32");
  options.needs = needs_of({&plan}, static_cast<int>(ids.size()));
  return session.prefill(ids, options);
}

std::vector<float> feed(Session& session, KvCache& cache, const std::vector<int32_t>& ids) {
  std::vector<float> all;
  session.feed(cache, ids, [&](int, int n, const float* logits) {
    all.insert(all.end(), logits, logits + static_cast<size_t>(n) * mixed_model()->config.vocab);
  });
  return all;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(Sliding, HoldsOnlyWhatTheNextTokenSees) {
  Session session(mixed_model(), 50);
  const auto ids = testing::random_ids(300, mixed_config().vocab);
  const PrefilledPrompt prompt = prefill(session, ids);
  const KvCache& cache = prompt.cache;
  for (int layer : {0, 2}) {
    const KvCache::Head& head = cache.head(layer, 1);
    EXPECT_EQ(head.first_row, 300 - kWindow + 1);
    for (int t = 0; t < static_cast<int>(head.pages.size()); ++t)
      EXPECT_EQ(static_cast<bool>(head.pages[t]), t >= head.first_row / kTile) << t;
  }
  EXPECT_EQ(cache.head(1, 0).first_row, 0);
  // Keys and values of float: 69 rows in two layers, 300 in the other, two KV heads of 16 channels.
  EXPECT_EQ(cache.bytes_in_use(), (2u * 69 + 300) * 2 * 2 * 16 * 4);
  EXPECT_LT(cache.bytes_allocated(), (2u * 128 + 320) * 2 * 2 * 16 * 4 + 1);
}

TEST(Sliding, TheCutIntoPassesDoesNotShow) {
  const auto ids = testing::random_ids(420, mixed_config().vocab);
  std::vector<float> whole;
  for (const int chunk : {420, 1, 7, 64, 129}) {
    Session session(mixed_model(), chunk);
    KvCache cache(mixed_config(), plain_codec("f32"));
    const std::vector<float> got = feed(session, cache, ids);
    if (whole.empty()) whole = got;
    EXPECT_TRUE(same_bits(got, whole)) << chunk;
  }
}

// A window that hides nothing gives the bits of a model without one.
TEST(Sliding, AWideWindowChangesNothing) {
  ModelConfig wide = mixed_config(), none = mixed_config();
  for (LayerConfig& layer : wide.layers) layer.window = layer.window > 0 ? 1000 : 0;
  for (LayerConfig& layer : none.layers) layer.window = 0;
  const auto ids = testing::random_ids(300, wide.vocab);
  std::vector<std::vector<float>> logits;
  for (const ModelConfig& config : {wide, none, mixed_config()}) {
    Session session(testing::random_model(config), 64);
    KvCache cache(config, plain_codec("f32"));
    logits.push_back(feed(session, cache, ids));
  }
  EXPECT_TRUE(same_bits(logits[0], logits[1]));
  EXPECT_FALSE(same_bits(logits[0], logits[2]));
  // The first 70 tokens see all in either.
  const auto n = static_cast<std::ptrdiff_t>(kWindow) * wide.vocab;
  EXPECT_TRUE(std::equal(logits[0].begin(), logits[0].begin() + n, logits[2].begin()));
}

TEST(Sliding, PoliciesLeaveSlidingLayersAlone) {
  const auto ids = testing::random_ids(300, mixed_config().vocab);
  for (const char* text :
       {"knorm(ratio=0.5)", "snapkv(ratio=0.5,window=8)", "adakv(ratio=0.5)",
        "streamingllm(ratio=0.5)", "knorm(ratio=0.5)+int4", "kivi4(group=16,residual=32)",
        "pyramidkv(ratio=0.5,window=8)", "observed_attention(ratio=0.5)"}) {
    SCOPED_TRACE(text);
    const CompressorSpec spec = spec_of(text);
    spec.plan.check_model(shape_of(mixed_config()));
    Session session(mixed_model(), 50);
    const PrefilledPrompt prompt = prefill(session, ids, spec.plan);
    const CompressedCache cut = compress(*mixed_model(), prompt, spec.plan);
    for (int layer : {0, 2}) {
      for (const std::vector<int32_t>& rows : cut.kept[static_cast<size_t>(layer)]) {
        EXPECT_EQ(rows.size(), static_cast<size_t>(kWindow - 1));
        EXPECT_EQ(rows.front(), 300 - kWindow + 1);
        EXPECT_EQ(rows.back(), 299);
      }
    }
    const auto suffix = testing::random_ids(90, mixed_config().vocab, 3);
    KvCache together = cut.cache.fork(), single = cut.cache.fork();
    std::vector<float> one_by_one;
    for (const int32_t id : suffix) {
      for (const float logit : feed(session, single, {id})) one_by_one.push_back(logit);
    }
    EXPECT_TRUE(same_bits(feed(session, together, suffix), one_by_one));
  }
}

TEST(Sliding, SavedCachesGoOnWithTheSameBits) {
  const TempFolder folder;
  const auto ids = testing::random_ids(300, mixed_config().vocab);
  for (const char* text : {"none", "knorm(ratio=0.5)", "int4", "kivi4(group=16,residual=32)"}) {
    SCOPED_TRACE(text);
    const CompressorSpec spec = spec_of(text);
    Session session(mixed_model(), 50);
    const PrefilledPrompt prompt = prefill(session, ids, spec.plan);
    CompressedCache cut = compress(*mixed_model(), prompt, spec.plan);
    const std::filesystem::path file = folder.path() / "cache.safetensors";
    save_cache(file, cut.cache, prompt.last_logits, {"model", spec.canonical, "f32", 300});
    const KvCache back = SavedCache(file).restore(mixed_config(), spec.plan, plain_codec("f32"));
    EXPECT_EQ(back.bytes_in_use(), cut.cache.bytes_in_use());
    KvCache restored = back.fork();
    const auto suffix = testing::random_ids(90, mixed_config().vocab, 3);
    EXPECT_TRUE(same_bits(feed(session, restored, suffix), feed(session, cut.cache, suffix)));
  }
}

TEST(Sliding, WhatCannotWorkIsRefusedWithTheReason) {
  const auto refused = [](const ModelConfig& config, const char* text,
                          const std::vector<std::string>& parts) {
    expect_error([&] { spec_of(text).plan.check_model(shape_of(config)); }, parts,
                 ErrorKind::kUsage);
  };
  refused(mixed_config(), "h2o", {"h2o", "every step", "2 of the 3 layers"});
  refused(mixed_config(), "streaming_rolling", {"streaming_rolling", "sliding"});
  refused(mixed_config(), "infllm", {"infllm", "window"});
  refused(mixed_config(), "quanto4", {"quanto4", "sliding-window layers"});
  refused(mixed_config(), "knorm(ratio=0.5,positions=canary)", {"canary", "true positions"});
  ModelConfig all = mixed_config();
  all.layers[1].window = kWindow;
  refused(all, "knorm(ratio=0.5)", {"every layer", "sliding window"});
  ModelConfig learned = testing::small_config();
  learned.rotary_dim = 0;
  learned.learned_positions = 512;
  refused(learned, "knorm(ratio=0.5,positions=contiguous)", {"contiguous", "learned positions"});
  refused(learned, "streaming_rolling", {"positions inside the cache", "learned"});
  refused(learned, "think(ratio=0.5,unit=pair)", {"pair", "RoPE"});
  EXPECT_NO_THROW(spec_of("h2o").plan.check_model(shape_of(learned)));
}

}  // namespace
}  // namespace kv
