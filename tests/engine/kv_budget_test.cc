// Cuts while the prompt comes, and budgets in bytes that hold for a whole sequence.
#include "engine/kv_budget.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "engine/error.h"
#include "engine/query_statistics.h"
#include "kernels/parallel.h"
#include "tests/engine/cut_testing.h"
#include "tests/engine/random_model.h"

namespace kv {
namespace {

using testing::fed;
using testing::prefill_for;
using testing::random_ids;
using testing::random_model;
using testing::rows_left;
using testing::small_config;
using testing::with;
using Rows = std::vector<int32_t>;

CompressorSpec spec_of(const std::string& text) {
  return parse_compressors(text, "test").front();
}

std::vector<std::string> ten_methods() {
  return {"knorm",
          "keydiff",
          "tova",
          "streamingllm",
          "snapkv(window=8)",
          "expected_attention(future=20)",
          "lagkv(lag=8)",
          "random",
          "adakv(inner=snapkv(window=8))",
          "criticalkv(inner=knorm)",
          "block(block=16)",
          "cur"};
}

class PromptCut : public ::testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<const Model> model = random_model(small_config());
  const Rows prompt = random_ids(110, model->config.vocab, 1),
             suffix = random_ids(40, model->config.vocab, 2);
};

// The tokens of a prompt that is cut are as later tokens of a short one.
TEST_P(PromptCut, IsTheCutOfLaterTokens) {
  Session session(model);
  const CompressorSpec early = spec_of(with(GetParam(), "prefill=(every=22,keep=40)")),
                       late = spec_of(with(GetParam(), "decode=(every=22,keep=40)"));
  const PrefilledPrompt cut = prefill_for(session, early, prompt);
  CompressedCache a = compress(*model, cut, early.plan);
  const PrefilledPrompt first = prefill_for(session, late, std::span(prompt).first(22));
  CompressedCache b = compress(*model, first, late.plan);
  const std::vector<float> logits = fed(session, b.cache, std::span(prompt).subspan(22));
  EXPECT_EQ(cut.last_logits, std::vector<float>(logits.end() - model->config.vocab, logits.end()));
  const auto rows = rows_left(b.cache);
  for (int layer = 0; layer < 2; ++layer) {
    for (int h = 0; h < 2; ++h) EXPECT_EQ(a.kept[layer][h], rows[layer * 2 + h]);
  }
  EXPECT_EQ(fed(session, a.cache, std::span(suffix).first(9)),
            fed(session, b.cache, std::span(suffix).first(9)));
}

TEST_P(PromptCut, ChunksAndThreadsDoNotShow) {
  const CompressorSpec spec =
      spec_of(with(GetParam(), "decode=(every=7,keep=30),prefill=(every=25,ratio=0.5)") + "+int8");
  const auto run = [&](int chunk) {
    Session session(model, chunk);
    const PrefilledPrompt filled = prefill_for(session, spec, prompt);
    CompressedCache cell = compress(*model, filled, spec.plan);
    std::vector<float> all = filled.last_logits;
    const std::vector<float> more = fed(session, cell.cache, suffix);
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const std::vector<float> expected = run(512);
  EXPECT_EQ(run(6), expected);
  set_threads(1);
  EXPECT_EQ(run(25), expected);
  set_threads(2);
}

// What a policy that reads moments of the queries needs besides its rows.
int moments_bytes(const std::string& spec, const ModelConfig& config) {
  if (!spec.starts_with("expected_attention")) return 0;
  return static_cast<int>(QueryMoments::bytes_for(config, {.first_token = 4, .covariance = true}));
}

// Every page that the process makes counts, at every moment.
TEST_P(PromptCut, StaysWithinItsBytes) {
  const Rows ids = random_ids(420, model->config.vocab, 3), later = random_ids(130, 97, 4);
  for (const int rows_budget : {60000, 90000, 125000}) {
    const int budget = rows_budget + moments_bytes(GetParam(), model->config);
    for (const std::string codec : {"", "+int8"}) {
      Session session(model);
      const CompressorSpec spec = spec_of(
          with(GetParam(), fmt::format("prefill=(every=40),budget_bytes={}", budget)) + codec);
      SCOPED_TRACE(spec.canonical);
      const size_t before = page_bytes_alive();
      reset_page_bytes_peak();
      std::optional<PrefilledPrompt> filled = prefill_for(session, spec, ids);
      CompressedCache cell = compress(*model, *filled, spec.plan);
      filled.reset();
      EXPECT_LE(cell.cache.bytes_allocated(), static_cast<size_t>(budget));
      for (size_t t = 0; t < later.size(); ++t) {
        fed(session, cell.cache, std::span(later).subspan(t, 1));
        ASSERT_LE(cell.cache.bytes_allocated(), static_cast<size_t>(budget)) << t;
      }
      EXPECT_LE(page_bytes_peak() - before, static_cast<size_t>(budget));
      EXPECT_GT(page_bytes_peak() - before, 0u);
    }
  }
}

// Without `prefill` the prompt itself is exact; the budget holds from its end on.
TEST_P(PromptCut, HoldsFromTheEndOfAnExactPrompt) {
  const Rows ids = random_ids(300, model->config.vocab, 3), later = random_ids(100, 97, 4);
  Session session(model);
  const int budget = 70000 + moments_bytes(GetParam(), model->config);
  const CompressorSpec spec = spec_of(with(GetParam(), fmt::format("budget_bytes={}", budget)));
  const PrefilledPrompt filled = prefill_for(session, spec, ids);
  EXPECT_EQ(filled.last_logits, prefill_for(session, spec_of("none"), ids).last_logits);
  CompressedCache cell = compress(*model, filled, spec.plan);
  const int keep = rows_in_budget(spec.plan, model->config, *plain_codec("f16"));
  size_t total = 0;
  for (const auto& layer : cell.kept) {
    for (const Rows& rows : layer) total += rows.size();
  }
  EXPECT_EQ(total, static_cast<size_t>(keep) * 4);
  for (size_t t = 0; t < later.size(); ++t) {
    fed(session, cell.cache, std::span(later).subspan(t, 1));
    ASSERT_LE(cell.cache.bytes_allocated(), static_cast<size_t>(budget)) << t;
  }
}

std::string test_name(const ::testing::TestParamInfo<std::string>& info) {
  return info.param.substr(0, info.param.find('('));
}
INSTANTIATE_TEST_SUITE_P(Policies, PromptCut, ::testing::ValuesIn(ten_methods()), test_name);

TEST(KvBudget, TakesWhatFitsAndSaysWhatDoesNot) {
  const ModelConfig config = small_config();
  const CodecPtr f16 = plain_codec("f16");
  const auto rows = [&](int64_t budget) {
    return rows_in_budget(
        spec_of(fmt::format("knorm(decode=(every=10),budget_bytes={})", budget)).plan, config,
        *f16);
  };
  // 2 layers of 2 heads: 2048 bytes a page, 4 a position.
  for (const int64_t budget : {40000, 50001, 100000}) {
    const int64_t n = rows(budget) + 10;
    const auto bytes = [](int64_t k) { return 2 * ((2 * k + 62) / 32 * 2048 + 8 * k); };
    EXPECT_LE(bytes(n), budget);
    EXPECT_GT(bytes(n + 1), budget);
  }
  try {
    rows(8350);  // two pages a layer, and positions of 9 rows
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_status(), 2);
    EXPECT_NE(std::string(e.what()).find("but 10 come from one cut to the next"), std::string::npos)
        << e.what();
  }
}

// A context sixteen times as large as its memory.
TEST(SlowKvBudget, Takes65536TokensInASixteenthOfTheirCache) {
  ModelConfig config = small_config();
  config.n_layers = 1;
  config.n_heads = 2;
  config.n_kv_heads = 1;
  config.max_position = 1 << 17;
  const auto model = random_model(config);
  const Rows ids = random_ids(65536, config.vocab, 5);
  const size_t full = ids.size() * 2 * static_cast<size_t>(config.head_dim) * 2;
  Session session(model);
  const CompressorSpec spec =
      spec_of(fmt::format("keydiff(prefill=(every=1024),budget_bytes={})", full / 16));
  const size_t before = page_bytes_alive();
  reset_page_bytes_peak();
  const PrefilledPrompt filled = prefill_for(session, spec, ids);
  CompressedCache cell = compress(*model, filled, spec.plan);
  EXPECT_EQ(cell.cache.n_tokens(), 65536);
  EXPECT_LE(page_bytes_peak() - before, full / 16);
  EXPECT_LE(cell.cache.bytes_allocated(), full / 16);
  EXPECT_GT(cell.kept[0][0].size(), 2000u);
  for (const float x : filled.last_logits) ASSERT_TRUE(std::isfinite(x));
}

}  // namespace
}  // namespace kv
