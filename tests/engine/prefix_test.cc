// A prompt that goes on from another one's prefix ends with the same bits as one prefilled alone.
#include <gtest/gtest.h>

#include "compress/registry.h"
#include "engine/session.h"
#include "tests/engine/random_model.h"

namespace kv {
namespace {

using testing::random_model;
using testing::small_config;

std::vector<int32_t> ids_of(int n, int differs_from) {
  std::vector<int32_t> ids;
  for (int i = 0; i < n; ++i) ids.push_back((i * 31 + (i < differs_from ? 5 : 11)) % 97);
  return ids;
}

std::vector<float> tiles_of(const KvCache& cache) {
  std::vector<float> all, scratch(static_cast<size_t>(padded(cache.head_dim())) * kTile);
  for (int l = 0; l < cache.n_layers(); ++l) {
    for (int h = 0; h < cache.n_kv_heads(); ++h) {
      const KvCache::Head& head = cache.head(l, h);
      for (int tile = 0; tile * kTile < head.n_rows; ++tile) {
        const int n = std::min(kTile, head.n_rows - tile * kTile);
        const float* values = cache.load_values(head, tile, n, scratch.data());
        all.insert(all.end(), values, values + n * padded(cache.head_dim()));
        const float* keys = cache.load_keys(head, tile, n, {}, scratch.data());
        for (int d = 0; d < cache.head_dim(); ++d)
          all.insert(all.end(), keys + d * kTile, keys + d * kTile + n);
      }
    }
  }
  return all;
}

KvNeeds everything() {
  KvNeeds needs;
  needs.window_queries = 9;
  needs.query_statistics = {{4, true}};
  needs.attention_received = true;
  return needs;
}

void expect_same(const PrefilledPrompt& a, const PrefilledPrompt& b) {
  EXPECT_EQ(a.last_logits, b.last_logits);
  EXPECT_EQ(a.window.queries, b.window.queries);
  EXPECT_EQ(a.attention_received, b.attention_received);
  ASSERT_EQ(a.query_statistics.size(), b.query_statistics.size());
  EXPECT_EQ(a.query_statistics[0].mean, b.query_statistics[0].mean);
  EXPECT_EQ(a.query_statistics[0].covariance, b.query_statistics[0].covariance);
  EXPECT_EQ(tiles_of(a.cache), tiles_of(b.cache));
}

TEST(PromptPrefix, GoesOnWithTheSameBits) {
  Session session(random_model(small_config()), 37);
  PrefillOptions options;
  options.codec = plain_codec("f16");
  options.needs = everything();
  const auto first = ids_of(150, 150), second = ids_of(171, 101);
  const PrefilledPrompt alone = session.prefill(second, options);
  options.save_at = 101;
  const PrefilledPrompt saving = session.prefill(first, options);
  ASSERT_NE(saving.prefix, nullptr);
  EXPECT_EQ(saving.prefix->cache.n_tokens(), 101);
  const int64_t before = session.tokens_computed();
  options.from = saving.prefix.get();
  options.save_at = 120;
  const PrefilledPrompt after = session.prefill(second, options);
  EXPECT_EQ(session.tokens_computed() - before, 70);
  expect_same(after, alone);
  // Saving changes nothing in the prompt that it happens in, and a prefix of a prefix is one too.
  options.from = after.prefix.get();
  options.save_at = 0;
  expect_same(session.prefill(second, options), alone);
  options.from = nullptr;
  expect_same(session.prefill(first, options), saving);
}

TEST(PromptPrefix, WhatIsRecordedOfTheLastTokensLiesBehindIt) {
  EXPECT_TRUE(can_go_on(everything(), 100, 109));
  EXPECT_FALSE(can_go_on(everything(), 101, 109));
  EXPECT_FALSE(can_go_on(KvNeeds(), 5, 5));  // its own last row would be missing
}

TEST(Session, SequencesFedTogetherGiveWhatEachGivesAlone) {
  Session session(random_model(small_config()));
  PrefillOptions options;
  options.codec = plain_codec("f32");
  const PrefilledPrompt prompt = session.prefill(ids_of(70, 70), options);
  const auto suffix = ids_of(200, 0);
  const size_t vocab = static_cast<size_t>(session.model().config.vocab);
  std::vector<float> alone;
  KvCache cache = prompt.cache.fork();
  session.feed(cache, suffix, [&](int, int n, const float* rows) {
    alone.insert(alone.end(), rows, rows + static_cast<size_t>(n) * vocab);
  });
  std::vector<KvCache> caches;
  for (int i = 0; i < 3; ++i) caches.push_back(prompt.cache.fork());
  const size_t lengths[] = {200, 1, 77};
  std::vector<Segment> segments;
  for (size_t i = 0; i < 3; ++i)
    segments.push_back({&caches[i], std::span(suffix).first(lengths[i]), LogitRows::kNone});
  std::vector<std::vector<float>> together(3);
  session.feed_together(segments, [&](size_t s, int first, int n, const float* rows) {
    EXPECT_EQ(static_cast<size_t>(first) * vocab, together[s].size());
    together[s].insert(together[s].end(), rows, rows + static_cast<size_t>(n) * vocab);
  });
  for (size_t i = 0; i < 3; ++i) {
    alone.resize(200 * vocab);
    EXPECT_EQ(together[i],
              std::vector<float>(alone.begin(),
                                 alone.begin() + static_cast<std::ptrdiff_t>(lengths[i] * vocab)));
  }
}

// Forks of one prompt read its rows together: as many sequences as one unit takes and more, on a
// prompt of less and of more than one span, some with a question of their own.
TEST(Session, SequencesThatSharePagesGiveWhatEachGivesAlone) {
  Session session(random_model(small_config()));
  const size_t vocab = static_cast<size_t>(session.model().config.vocab);
  for (const char* codec : {"f16", "f32"}) {
    for (const int length : {70, 300, 1100}) {
      PrefillOptions options;
      options.codec = plain_codec(codec);
      const PrefilledPrompt prompt = session.prefill(ids_of(length, length), options);
      constexpr size_t kSequences = 75;
      std::vector<KvCache> caches, alone;
      std::vector<KvCache*> pointers;
      std::vector<int32_t> tokens;
      for (size_t i = 0; i < kSequences; ++i) {
        caches.push_back(prompt.cache.fork());
        if (i % 5 == 1) session.feed(caches.back(), ids_of(static_cast<int>(i), 3), {});
        alone.push_back(caches.back().fork());
        tokens.push_back(static_cast<int32_t>(i * 7 % 97));
      }
      for (KvCache& cache : caches) pointers.push_back(&cache);
      std::vector<float> together(kSequences * vocab), row(vocab);
      for (int step = 0; step < 3; ++step) {
        session.step(pointers, tokens, together.data());
        for (size_t i = 0; i < kSequences; ++i) {
          KvCache* const one[] = {&alone[i]};
          session.step(one, std::span(tokens).subspan(i, 1), row.data());
          const float* expected = together.data() + i * vocab;
          ASSERT_TRUE(std::equal(row.begin(), row.end(), expected))
              << codec << " length " << length << " step " << step << " sequence " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace kv
