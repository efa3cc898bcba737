// Methods that act at every step: whole sequences through them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "compress/registry.h"
#include "engine/compression.h"
#include "engine/error.h"
#include "engine/safetensors.h"
#include "engine/session.h"
#include "kernels/parallel.h"
#include "tests/engine/random_model.h"
#include "tests/paths.h"

namespace kv {
namespace {

using testing::random_ids;
using testing::random_model;
using testing::small_config;

using Json = nlohmann::json;
using Kept = std::vector<std::vector<std::vector<int32_t>>>;

CompressionPlan plan_of(const std::string& spec) {
  return parse_compressors(spec, "test").front().plan;
}

struct Outcome {
  std::vector<float> prompt, suffix;  // logits
  Kept kept;
  size_t kv_bytes = 0, kv_bytes_end = 0;
  bool operator==(const Outcome&) const = default;
};

// Whatever is asked of a method: a prompt, its compression, a continuation.
Outcome run(const std::shared_ptr<const Model>& model, const std::string& spec,
            const std::vector<int32_t>& prompt_ids, const std::vector<int32_t>& suffix_ids,
            int chunk = 512, const std::string& kv_dtype = "f16") {
  const CompressionPlan plan = plan_of(spec);
  Session session(model, chunk);
  Outcome result;
  const auto collect = [&](std::vector<float>& all) {
    return [&](int, int n, const float* logits) {
      all.insert(all.end(), logits, logits + static_cast<size_t>(n) * model->config.vocab);
    };
  };
  PrefillOptions options;
  options.codec = prompt_codec(plan, plain_codec(kv_dtype));
  options.step = prompt_rules(plan);
  options.needs = needs_of({&plan}, static_cast<int>(prompt_ids.size()));
  options.on_logits = collect(result.prompt);
  const PrefilledPrompt prompt = session.prefill(prompt_ids, options);
  CompressedCache cell = compress(*model, prompt, plan);
  result.kept = cell.kept;
  result.kv_bytes = cell.cache.bytes_in_use();
  session.feed(cell.cache, suffix_ids, collect(result.suffix));
  result.kv_bytes_end = cell.cache.bytes_in_use();
  return result;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - b[i]));
  return largest;
}

// The registry's methods that act at every step, so small that a short text meets all their rules.
std::vector<std::string> small_specs() {
  const std::vector<std::pair<std::string, std::string>> params = {
      {"h2o", "(heavy=0.1,recent=0.1)"},
      {"h2o", "(heavy=0.2,recent=0,prefill_scores=false)"},
      {"streaming_rolling", "(sinks=4,window=40)"},
      {"streaming_rolling", "(ratio=0.5,sinks=37)"},
      {"infllm", "(sinks=4,window=32,block=8,topk=3,repr=2,step=24)"},
      {"infllm", "(ratio=0.5,block=8,step=16)"},
  };
  std::vector<std::string> specs;
  std::set<std::string> met;
  for (const MethodInfo& info : all_methods()) {
    for (const auto& [name, text] : params) {
      if (name != info.name) continue;
      specs.push_back(name + text);
      met.insert(name);
    }
    // One that is new in the registry must have its line above.
    const bool acts = std::any_of(info.params.begin(), info.params.end(), [](const ParamSpec& p) {
      return p.name == "ratio" && !p.required;
    });
    if (acts && met.count(info.name) == 0) specs.push_back(info.name);
  }
  return specs;
}

class EveryStepMethod : public ::testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<const Model> model = random_model(small_config());
  std::vector<int32_t> prompt = random_ids(170, model->config.vocab, 1),
                       suffix = random_ids(60, model->config.vocab, 2);
};

TEST_P(EveryStepMethod, ChunksAndThreadsDoNotShow) {
  const Outcome whole = run(model, GetParam(), prompt, suffix, 512);
  EXPECT_EQ(run(model, GetParam(), prompt, suffix, 7), whole);
  EXPECT_EQ(run(model, GetParam(), prompt, suffix, 1), whole);
  const int before = threads();
  set_threads(1);
  EXPECT_EQ(run(model, GetParam(), prompt, suffix, 64), whole);
  set_threads(before);
}

TEST_P(EveryStepMethod, NeighboursInAPassDoNotShow) {
  const CompressionPlan plan = plan_of(GetParam());
  const Outcome alone = run(model, GetParam(), prompt, suffix),
                full = run(model, "none", prompt, suffix);
  Session session(model);
  PrefillOptions options;
  options.codec = plain_codec("f16");
  const PrefilledPrompt plain = session.prefill(prompt, options);
  options.step = prompt_rules(plan);
  options.needs = needs_of({&plan}, static_cast<int>(prompt.size()));
  const PrefilledPrompt filled = session.prefill(prompt, options);
  CompressedCache cell = compress(*model, filled, plan), other = compress(*model, plain, {});
  const size_t vocab = static_cast<size_t>(model->config.vocab);
  std::vector<float> logits((3 + suffix.size()) * vocab);
  const std::vector<Segment> segments = {
      {&other.cache, std::span(suffix).first(3), LogitRows::kAll},
      {&cell.cache, suffix, LogitRows::kAll}};
  session.forward(segments, logits.data());
  EXPECT_EQ(std::vector<float>(logits.begin() + static_cast<long>(3 * vocab), logits.end()),
            alone.suffix);
  EXPECT_EQ(std::memcmp(logits.data(), full.suffix.data(), 3 * vocab * sizeof(float)), 0);
}

TEST_P(EveryStepMethod, ForksGoTheirOwnWays) {
  const CompressionPlan plan = plan_of(GetParam());
  const Outcome alone = run(model, GetParam(), prompt, suffix);
  Session session(model);
  PrefillOptions options;
  options.codec = plain_codec("f16");
  options.step = prompt_rules(plan);
  options.needs = needs_of({&plan}, static_cast<int>(prompt.size()));
  const CompressedCache cell = compress(*model, session.prefill(prompt, options), plan);
  const size_t before = cell.cache.bytes_in_use();
  KvCache first = cell.cache.fork(), second = cell.cache.fork();
  session.feed(first, random_ids(50, model->config.vocab, 9), nullptr);
  std::vector<float> logits;
  session.feed(second, suffix, [&](int, int n, const float* rows) {
    logits.insert(logits.end(), rows, rows + static_cast<size_t>(n) * model->config.vocab);
  });
  EXPECT_EQ(logits, alone.suffix);
  EXPECT_EQ(cell.cache.bytes_in_use(), before);
}

TEST_P(EveryStepMethod, OnlyMethodsThatSaySoChangeThePrompt) {
  const CompressionPlan plan = plan_of(GetParam());
  const Outcome full = run(model, "none", prompt, suffix),
                cell = run(model, GetParam(), prompt, suffix);
  EXPECT_EQ(cell.prompt == full.prompt, !plan.step->acts_on_prompt());
  EXPECT_NE(cell.suffix, full.suffix);
}

TEST_P(EveryStepMethod, WorksInEveryPlainDtype) {
  const Outcome f32 = run(model, GetParam(), prompt, suffix, 512, "f32");
  for (const std::string dtype : {"f16", "bf16"}) {
    const Outcome other = run(model, GetParam(), prompt, suffix, 512, dtype);
    EXPECT_LT(other.kv_bytes, f32.kv_bytes);
    EXPECT_TRUE(std::all_of(other.suffix.begin(), other.suffix.end(),
                            [](float v) { return std::isfinite(v); }));
    EXPECT_EQ(run(model, GetParam() + "+" + dtype, prompt, suffix, 512, dtype), other);
  }
}

TEST_P(EveryStepMethod, TakesPromptsShorterThanItsWindows) {
  for (const int n : {1, 2, 5, 33}) {
    const std::vector<int32_t> few(prompt.begin(), prompt.begin() + n);
    const Outcome whole = run(model, GetParam(), few, suffix);
    EXPECT_EQ(run(model, GetParam(), few, suffix, 3), whole);
    for (const auto& layer : whole.kept) {
      for (const std::vector<int32_t>& head : layer) EXPECT_GE(head.size(), 1u);
    }
  }
}

TEST_P(EveryStepMethod, StandsAlone) {
  for (const std::string more : {"+int4", "+kivi2", "+knorm(ratio=0.5)", "+flexgen4", "+h2o"})
    EXPECT_THROW(plan_of(GetParam() + more), Error) << more;
  EXPECT_THROW(plan_of("knorm(ratio=0.5)+" + GetParam()), Error);
}

TEST_P(EveryStepMethod, CanonicalFormReadsBackAsItself) {
  const CompressorSpec spec = parse_compressors(GetParam(), "test").front();
  EXPECT_EQ(parse_compressors(spec.canonical, "test").front().canonical, spec.canonical);
  EXPECT_EQ(spec.plan.step->spec, spec.canonical);
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryStepMethod, ::testing::ValuesIn(small_specs()));

// With room for everything nothing leaves, and only the order of additions differs.
TEST(StepMethods, RoomForAllIsTheFullCache) {
  const auto model = random_model(small_config());
  const auto prompt = random_ids(150, model->config.vocab, 3),
             suffix = random_ids(40, model->config.vocab, 4);
  const Outcome full = run(model, "none", prompt, suffix, 512, "f32");
  for (const std::string spec :
       {"streaming_rolling(sinks=4,window=190)", "h2o(heavy=0.9,recent=0.9)",
        "infllm(sinks=4,window=190,block=8,topk=3,repr=2,step=24)"}) {
    const Outcome cell = run(model, spec, prompt, suffix, 64, "f32");
    EXPECT_LT(largest_difference(cell.prompt, full.prompt), 3e-5) << spec;
    EXPECT_LT(largest_difference(cell.suffix, full.suffix), 3e-5) << spec;
    EXPECT_EQ(cell.kept, full.kept) << spec;
  }
}

TEST(StepMethods, GoldenValuesOfAnIndependentImplementation) {
  const std::filesystem::path data = source_dir() / "tests" / "data";
  const Json cases = Json::parse(std::ifstream(data / "step_methods" / "golden.json"));
  const Safetensors tensors = Safetensors::open_file(data / "step_methods" / "golden.safetensors");
  ASSERT_EQ(cases.size(), 20u);
  for (const Json& c : cases) {
    SCOPED_TRACE(
        fmt::format("{} {}", c.at("model").get<std::string>(), c.at("spec").get<std::string>()));
    const auto model = Model::load(data / c.at("model").get<std::string>());
    const Outcome got = run(model, c.at("spec"), c.at("prompt_ids"), c.at("suffix_ids"), 13, "f32");
    EXPECT_EQ(got.kept, c.at("held").get<Kept>());
    const std::vector<float> want = tensors.floats(c.at("logits"));
    const size_t vocab = static_cast<size_t>(model->config.vocab);
    std::vector<float> rows;
    for (const size_t row : c.at("rows").get<std::vector<size_t>>()) {
      const float* from = row == 0 ? got.prompt.data() + got.prompt.size() - vocab
                                   : got.suffix.data() + (row - 1) * vocab;
      rows.insert(rows.end(), from, from + vocab);
    }
    float largest = 0;
    for (const float v : want) largest = std::max(largest, std::abs(v));
    EXPECT_LT(largest_difference(rows, want), 5e-6 * largest);
  }
}

// Bytes of the rows of one head in f16.
size_t row_bytes(const ModelConfig& c, size_t n_rows) {
  return n_rows * 2 * static_cast<size_t>(c.head_dim) * 2;
}

TEST(StreamingRolling, MemoryStaysFlatHoweverLongTheText) {
  const auto model = random_model(small_config());
  const ModelConfig& c = model->config;
  const size_t heads = static_cast<size_t>(c.n_layers) * c.n_kv_heads;
  const int sinks = 5, window = 100, chunk = 64;
  const auto ids = random_ids(3000, c.vocab, 5);
  Session session(model, chunk);
  const CompressionPlan plan =
      plan_of(fmt::format("streaming_rolling(sinks={},window={})", sinks, window));
  PrefillOptions options;
  options.codec = plain_codec("f16");
  options.step = prompt_rules(plan);
  const size_t alive = page_bytes_alive();
  reset_page_bytes_peak();
  PrefilledPrompt prompt = session.prefill(std::span(ids).first(1500), options);
  EXPECT_EQ(prompt.cache.bytes_in_use(), heads * row_bytes(c, sinks + window));
  session.feed(prompt.cache, std::span(ids).subspan(1500), nullptr);
  EXPECT_EQ(prompt.cache.bytes_in_use(), heads * row_bytes(c, sinks + window));
  // Whole pages of 32 rows: at most one page more at each end of the window and of the sinks.
  const size_t most = sinks + window + chunk + 3 * kTile;
  EXPECT_LE(page_bytes_peak() - alive, heads * row_bytes(c, most));
  EXPECT_LE(prompt.cache.bytes_allocated(), heads * row_bytes(c, sinks + window + 3 * kTile));
}

// What left the window has no influence any more but through the rows that saw it: with one layer,
// none at all.
TEST(StreamingRolling, TheTextBeforeTheWindowIsForgotten) {
  ModelConfig config = small_config();
  config.n_layers = 1;
  const auto model = random_model(config);
  auto ids = random_ids(300, config.vocab, 6);
  const Outcome one = run(model, "streaming_rolling(sinks=3,window=50)", ids, {1, 2, 3});
  for (int i = 3; i < 240; ++i) ids[i] = (ids[i] + 1) % config.vocab;
  const Outcome other = run(model, "streaming_rolling(sinks=3,window=50)", ids, {1, 2, 3});
  EXPECT_EQ(one.suffix, other.suffix);
  ids[1] = (ids[1] + 1) % config.vocab;
  EXPECT_NE(run(model, "streaming_rolling(sinks=3,window=50)", ids, {1, 2, 3}).suffix, one.suffix);
}

TEST(H2O, RowsAreFreedWhenNoHeadOfTheGroupKeepsThem) {
  const auto model = random_model(small_config());
  const ModelConfig& c = model->config;
  const auto prompt = random_ids(400, c.vocab, 7), suffix = random_ids(300, c.vocab, 8);
  const Outcome cell = run(model, "h2o(heavy=0.05,recent=0.05)", prompt, suffix);
  size_t rows = 0;
  for (const auto& layer : cell.kept) {
    for (const std::vector<int32_t>& head : layer) {
      EXPECT_GE(head.size(), 40u);                    // one query head alone
      EXPECT_LE(head.size(), 20u + 20u * c.group());  // no two of them agree
      EXPECT_EQ(head.back(), 399);                    // the newest
      rows += head.size();
    }
  }
  // A row, its position, the scores of its query heads.
  const auto bytes_of = [&](size_t n) { return row_bytes(c, n) + n * (4 + 4 * c.group()); };
  EXPECT_EQ(cell.kv_bytes, bytes_of(rows));
  const size_t heads = static_cast<size_t>(c.n_layers) * c.n_kv_heads;
  EXPECT_LE(cell.kv_bytes_end, heads * bytes_of(21 + 20 * c.group()));
  // The flash variant frees at the first token after the prompt.
  const Outcome late = run(model, "h2o(heavy=0.05,recent=0.05,prefill_scores=false)", prompt, {1});
  EXPECT_EQ(late.kv_bytes, heads * bytes_of(400));
  EXPECT_LE(late.kv_bytes_end, heads * bytes_of(21 + 20 * c.group()));
}

TEST(H2O, PackedPagesAreGivenBack) {
  const auto model = random_model(small_config());
  Session session(model);
  const CompressionPlan plan = plan_of("h2o(heavy=0.03,recent=0.03,prefill_scores=false)");
  PrefillOptions options;
  options.codec = plain_codec("f16");
  CompressedCache cell =
      compress(*model, session.prefill(random_ids(600, model->config.vocab, 3), options), plan);
  const size_t before = cell.cache.bytes_allocated();
  session.feed(cell.cache, random_ids(5, model->config.vocab, 4), nullptr);
  EXPECT_LT(cell.cache.bytes_allocated(), before / 3);
}

TEST(InfLLM, CountsEveryRowAndWhatItRemembers) {
  const auto model = random_model(small_config());
  const ModelConfig& c = model->config;
  const auto prompt = random_ids(200, c.vocab, 7);
  const Outcome cell =
      run(model, "infllm(sinks=4,window=32,block=8,topk=3,repr=2,step=24)", prompt, {1});
  const size_t heads = static_cast<size_t>(c.n_layers) * c.n_kv_heads;
  // 200 = 4 sinks, 20 blocks of 8, 36 others; of the 201 the same.
  const size_t blocks = 20, rest = 36, q_heads = static_cast<size_t>(c.n_heads) * c.n_layers;
  EXPECT_EQ(cell.kv_bytes, heads * row_bytes(c, 200) + q_heads * 4 * (blocks * c.head_dim + rest));
  EXPECT_EQ(cell.kept[1][1].size(), 200u);
}

}  // namespace
}  // namespace kv
