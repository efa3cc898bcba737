// What every method of the registry, policy or codec, must do to whole sequences.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "engine/compression.h"
#include "engine/error.h"
#include "engine/session.h"
#include "kernels/parallel.h"
#include "tests/engine/random_model.h"
#include "tests/every_method.h"
#include "tests/temp_folder.h"

namespace kv {
namespace {

using testing::MethodSpec;
using testing::random_ids;
using testing::random_model;
using testing::small_config;

constexpr int kPrompt = 80, kSuffix = 20;

std::vector<MethodSpec> methods(double ratio) {
  return testing::every_method(small_config(), process_folder().path().string(), ratio);
}

// A sequence with one method on it.
struct Trial {
  Trial(const std::shared_ptr<const Model>& model, const std::string& spec, int n_prompt,
        int chunk = 0)
      : method(parse_compressors(spec, "test").front()),
        session(model, chunk),
        ids(random_ids(n_prompt, model->config.vocab, 5)),
        prompt(session.prefill(ids, options())),
        cell(compress(*model, prompt, method.plan)) {}

  PrefillOptions options() const {
    PrefillOptions result;
    result.codec = prompt_codec(method.plan, plain_codec("f16"));
    result.needs = needs_of({&method.plan}, static_cast<int>(ids.size()));
    result.step = prompt_rules(method.plan);
    return result;
  }

  std::vector<float> feed(KvCache& cache, int n = kSuffix) {
    std::vector<float> logits;
    session.feed(cache, random_ids(n, session.model().config.vocab, 6),
                 [&](int, int n_rows, const float* rows) {
                   logits.insert(logits.end(), rows,
                                 rows + static_cast<size_t>(n_rows) * session.model().config.vocab);
                 });
    return logits;
  }

  CompressorSpec method;
  Session session;
  std::vector<int32_t> ids;
  PrefilledPrompt prompt;
  CompressedCache cell;
};

TEST(EveryMethod, RatioZeroIsTheFullCacheBitForBit) {
  const auto model = random_model(small_config());
  Trial full(model, "none", kPrompt);
  const std::vector<float> expected = full.feed(full.cell.cache);
  for (const MethodSpec& m : methods(0)) {
    if (!m.removes_nothing_at_zero) continue;
    SCOPED_TRACE(m.spec);
    Trial trial(model, m.spec, kPrompt);
    EXPECT_EQ(trial.cell.cache.bytes_in_use(), full.prompt.cache.bytes_in_use());
    EXPECT_EQ(trial.feed(trial.cell.cache), expected);
  }
}

TEST(EveryMethod, ThreadsAndChunksDoNotShow) {
  const auto model = random_model(small_config());
  for (const MethodSpec& m : methods(0.5)) {
    SCOPED_TRACE(m.spec);
    Trial whole(model, m.spec, kPrompt);
    const std::vector<float> expected = whole.feed(whole.cell.cache);
    set_threads(1);
    Trial cut(model, m.spec, kPrompt, 13);
    set_threads(2);
    EXPECT_EQ(cut.cell.kept, whole.cell.kept);
    EXPECT_EQ(cut.feed(cut.cell.cache), expected);
  }
}

// Sequences of all methods decoded together give what each gives alone.
TEST(EveryMethod, NeighboursDoNotShow) {
  const auto model = random_model(small_config());
  const size_t vocab = static_cast<size_t>(model->config.vocab);
  std::deque<Trial> trials;
  for (const MethodSpec& m : methods(0.5)) trials.emplace_back(model, m.spec, kPrompt);
  const auto tokens = random_ids(6, model->config.vocab, 9);
  std::vector<std::vector<float>> alone;
  for (Trial& trial : trials) {
    KvCache fork = trial.cell.cache.fork();
    KvCache* const caches[] = {&fork};
    std::vector<float>& logits = alone.emplace_back(tokens.size() * vocab);
    for (size_t t = 0; t < tokens.size(); ++t)
      trial.session.step(caches, {&tokens[t], 1}, logits.data() + t * vocab);
  }
  Session session(model);
  std::vector<KvCache*> caches;
  for (Trial& trial : trials) caches.push_back(&trial.cell.cache);
  std::vector<float> logits(trials.size() * vocab);
  for (size_t t = 0; t < tokens.size(); ++t) {
    session.step(caches, std::vector<int32_t>(trials.size(), tokens[t]), logits.data());
    for (size_t i = 0; i < trials.size(); ++i) {
      EXPECT_TRUE(std::equal(logits.begin() + static_cast<long>(i * vocab),
                             logits.begin() + static_cast<long>((i + 1) * vocab),
                             alone[i].begin() + static_cast<long>(t * vocab)))
          << trials[i].method.canonical << " token " << t;
    }
  }
}

// A fork is a snapshot: whatever one of the two is fed, the other goes on from where it stood. The
// prompt serves again.
TEST(EveryMethod, ForksAndPromptsStayAsTheyWere) {
  const auto model = random_model(small_config());
  for (const MethodSpec& m : methods(0.5)) {
    SCOPED_TRACE(m.spec);
    Trial trial(model, m.spec, kPrompt);
    KvCache snapshot = trial.cell.cache.fork();
    const size_t bytes = snapshot.bytes_in_use();
    const std::vector<float> first = trial.feed(trial.cell.cache);
    EXPECT_EQ(snapshot.bytes_in_use(), bytes);
    KvCache restored = snapshot.fork();
    EXPECT_EQ(trial.feed(restored), first);
    EXPECT_EQ(trial.feed(snapshot), first);
    CompressedCache again = compress(*model, trial.prompt, trial.method.plan);
    EXPECT_EQ(again.kept, trial.cell.kept);
    EXPECT_EQ(trial.feed(again.cache), first);
  }
}

// What is counted is there: pages hold what bytes_allocated() says, and of that only the rest of a
// last tile is not in use.
TEST(EveryMethod, CountedBytesAreAllocated) {
  const auto model = random_model(small_config());
  const ModelConfig& c = model->config;
  const size_t heads = static_cast<size_t>(c.n_layers) * c.n_kv_heads;
  for (const MethodSpec& m : methods(0.5)) {
    SCOPED_TRACE(m.spec);
    Trial trial(model, m.spec, kPrompt);
    if (trial.method.plan.step) continue;  // they count by rules of their own
    trial.feed(trial.cell.cache, 7);
    // Rows that a codec or policy wrote are in pages of their own; the prompt's go.
    std::vector<bool> shared;
    size_t pages = 0;
    const size_t before = page_bytes_alive();
    {
      CompressedCache other = std::move(trial.cell);
      pages = other.cache.bytes_allocated();
      EXPECT_GE(pages, other.cache.bytes_in_use());
      size_t tile = 0;  // the most that is left over in a head: two sets of pages
      for (const CodecPtr& codec : {trial.method.plan.codec, plain_codec("f16")}) {
        if (codec) tile += codec->key_tile_bytes(c.head_dim) + codec->value_tile_bytes(c.head_dim);
      }
      if (trial.method.plan.codec == nullptr) tile *= 2;
      EXPECT_LE(pages, other.cache.bytes_in_use() + heads * (tile + 256));
    }
    // What the cell alone held is free again: never more than it said.
    EXPECT_LE(before - page_bytes_alive(), pages);
  }
}

TEST(EveryMethod, TakesPromptsAroundItsWindow) {
  const auto model = random_model(small_config());
  constexpr int kWindow = testing::kMethodWindow;
  for (const MethodSpec& m : methods(0.5)) {
    for (const int n : {1, 2, kWindow - 1, kWindow, kWindow + 1}) {
      SCOPED_TRACE(fmt::format("{}, {} tokens", m.spec, n));
      Trial trial(model, m.spec, n);
      for (const auto& layer : trial.cell.kept) {
        for (const auto& head : layer) {
          EXPECT_FALSE(head.empty());
          EXPECT_LT(head.back(), n);
        }
      }
      const std::vector<float> logits = trial.feed(trial.cell.cache, 3);
      EXPECT_TRUE(
          std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); }));
    }
  }
}

}  // namespace
}  // namespace kv
