// Caches that are cut back while their sequence goes on: every policy of the registry that can.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "engine/error.h"
#include "engine/safetensors_writer.h"
#include "kernels/parallel.h"
#include "tests/engine/cut_testing.h"
#include "tests/engine/random_model.h"
#include "tests/temp_folder.h"

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

// The methods that take `decode`, with parameters that suit short sequences.
std::vector<std::string> cutting_methods() {
  return {"random",
          "knorm",
          "snapkv(window=9)",
          "expected_attention(future=20)",
          "streamingllm",
          "tova",
          "keydiff",
          "lagkv(lag=8)",
          "cur",
          "qfilter",
          "cap(future=20)",
          "adakv(inner=snapkv(window=5))",
          "criticalkv(inner=knorm)",
          "criticaladakv(inner=expected_attention(vnorm=false))",
          "entropy_chunkkv(inner=snapkv(window=5))",
          "block(block=16)"};
}

std::string filters_file() {
  static const std::string file = [] {
    const ModelConfig c = small_config();
    const int64_t n = int64_t{c.n_layers} * c.n_kv_heads * c.head_dim;
    std::vector<float> values(n);
    for (int64_t i = 0; i < n; ++i) values[i] = static_cast<float>(i % 13) / 13.0f - 0.4f;
    SafetensorsWriter writer;
    writer.add("q_filters", {c.n_layers, c.n_kv_heads, c.head_dim}, std::span<const float>(values));
    const std::string path = process_folder().path() / "step_filters.safetensors";
    writer.write(path);
    return path;
  }();
  return file;
}

// method with more parameters in front of its own.
CompressorSpec spec_of(std::string method, const std::string& more, const std::string& codec = "") {
  if (method == "qfilter") method = fmt::format("qfilter(filters='{}')", filters_file());
  return parse_compressors(with(method, more) + codec, "test").front();
}

CompressedCache start(Session& session, const CompressorSpec& spec, std::span<const int32_t> ids,
                      const std::string& kv_dtype = "f16") {
  return compress(session.model(), prefill_for(session, spec, ids, kv_dtype), spec.plan);
}

class RepeatedCut : public ::testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<const Model> model = random_model(small_config());
  const Rows prompt = random_ids(60, model->config.vocab, 1),
             suffix = random_ids(77, model->config.vocab, 2);
};

// The definition: a cut sees what it would see if all tokens so far had been the prompt.
TEST_P(RepeatedCut, IsTheCutOfAPromptOfAllTokensSoFar) {
  Session session(model);
  const CompressorSpec stepwise = spec_of(GetParam(), "decode=(every=20,keep=40)"),
                       once = spec_of(GetParam(), "ratio=0.5");
  CompressedCache decoded = start(session, stepwise, prompt);
  const std::span<const int32_t> first = std::span(suffix).first(20),
                                 later = std::span(suffix).subspan(20, 10);
  fed(session, decoded.cache, first);
  Rows all(prompt);
  all.insert(all.end(), first.begin(), first.end());
  CompressedCache whole = start(session, once, all);
  std::vector<Rows> expected;
  for (const auto& layer : whole.kept) expected.insert(expected.end(), layer.begin(), layer.end());
  EXPECT_EQ(rows_left(decoded.cache), expected);
  EXPECT_EQ(fed(session, decoded.cache, later), fed(session, whole.cache, later));
}

TEST_P(RepeatedCut, PassesThreadsAndNeighboursDoNotShow) {
  const CompressorSpec spec = spec_of(GetParam(), "ratio=0.3,decode=(every=11,keep=33)");
  Session whole(model), pieces(model, 4);
  const CompressedCache cell = start(whole, spec, prompt);
  KvCache a = cell.cache.fork();
  const std::vector<float> expected = fed(whole, a, suffix);
  KvCache b = cell.cache.fork();
  set_threads(1);
  EXPECT_EQ(fed(pieces, b, suffix), expected);
  set_threads(2);

  const size_t vocab = static_cast<size_t>(model->config.vocab);
  KvCache one_by_one = cell.cache.fork();
  std::vector<float> rows(expected.size());
  for (size_t i = 0; i < suffix.size(); ++i) {
    KvCache* const caches[] = {&one_by_one};
    whole.step(caches, std::span(&suffix[i], 1), rows.data() + i * vocab);
  }
  EXPECT_EQ(rows, expected);

  const CompressedCache other = start(whole, spec_of("knorm", "decode=(every=5,keep=20)"), prompt);
  KvCache c = cell.cache.fork(), neighbour = other.cache.fork(),
          plain = start(whole, {}, prompt).cache;
  const std::vector<Segment> segments = {{&plain, std::span(suffix).first(30), LogitRows::kLast},
                                         {&c, suffix, LogitRows::kAll},
                                         {&neighbour, suffix, LogitRows::kAll}};
  std::vector<float> logits((1 + 2 * suffix.size()) * vocab);
  whole.forward(segments, logits.data());
  EXPECT_EQ(std::vector<float>(logits.begin() + static_cast<int64_t>(vocab),
                               logits.begin() + static_cast<int64_t>(vocab + expected.size())),
            expected);
  EXPECT_EQ(rows_left(c), rows_left(a));
}

// The rows go up and down between keep and keep + every - 1 and never change their order.
TEST_P(RepeatedCut, HoldsAtMostKeepRowsAfterEveryCut) {
  constexpr int kEvery = 7, kKeep = 30;
  Session session(model);
  const CompressorSpec spec =
      spec_of(GetParam(), fmt::format("decode=(every={},keep={})", kEvery, kKeep));
  CompressedCache cell = start(session, spec, prompt);
  const size_t heads = static_cast<size_t>(model->config.n_kv_heads);
  for (size_t t = 0; t < suffix.size(); ++t) {
    fed(session, cell.cache, std::span(suffix).subspan(t, 1));
    const std::vector<Rows> rows = rows_left(cell.cache);
    const size_t since = (t + 1) % kEvery;
    for (size_t first = 0; first < rows.size(); first += heads) {
      size_t of_layer = 0;
      for (size_t h = first; h < first + heads; ++h) {
        EXPECT_TRUE(std::is_sorted(rows[h].begin(), rows[h].end(), std::less_equal<>()));
        of_layer += rows[h].size();
        if (since == 0) continue;
        EXPECT_EQ(rows[h].back(), static_cast<int>(prompt.size() + t));
      }
      if (t + 1 < kEvery) continue;
      EXPECT_EQ(of_layer, (kKeep + since) * heads) << t;
    }
  }
  EXPECT_GE(cell.cache.bytes_allocated(), cell.cache.bytes_in_use());
}

TEST_P(RepeatedCut, ForksGoTheirOwnWay) {
  Session session(model);
  const CompressedCache cell =
      start(session, spec_of(GetParam(), "decode=(every=6,keep=24)"), prompt);
  KvCache a = cell.cache.fork();
  const std::vector<float> expected = fed(session, a, suffix);
  KvCache b = cell.cache.fork();
  fed(session, b, std::span(suffix).first(5));
  KvCache c = b.fork();
  fed(session, b, random_ids(20, model->config.vocab, 9));
  const std::vector<float> rest = fed(session, c, std::span(suffix).subspan(5));
  EXPECT_EQ(rest,
            std::vector<float>(expected.end() - static_cast<int64_t>(rest.size()), expected.end()));
}

std::string test_name(const ::testing::TestParamInfo<std::string>& info) {
  return info.param.substr(0, info.param.find('('));
}
INSTANTIATE_TEST_SUITE_P(Policies, RepeatedCut, ::testing::ValuesIn(cutting_methods()), test_name);

// The list above is complete: every other eviction policy refuses, and says why.
TEST(RepeatedCutRefusal, IsSaidByEveryOtherPolicy) {
  std::vector<std::string> can, cannot;
  for (const MethodInfo& info : all_methods()) {
    const std::vector<ParamSpec> params = all_params(info);
    const auto has = [&](const std::string& name) {
      return std::any_of(params.begin(), params.end(),
                         [&](const ParamSpec& p) { return p.name == name; });
    };
    if (!has("decode")) continue;
    std::string text = info.name + "(decode=(every=5,keep=9)";
    if (has("filters")) text += ",filters='f'";
    if (has("curves")) text += ",curves='f'";
    if (has("ratios")) text += ",ratios=[0.5]";
    if (info.name == "finch") text += ",window=3";
    try {
      parse_compressors(text + ")", "test");
      can.push_back(info.name);
    } catch (const Error& e) {
      const std::string message = e.what();
      if (message.find("cannot cut back while tokens come: ") == std::string::npos) {
        can.push_back(info.name);  // refused for its file only
      } else {
        cannot.push_back(info.name);
        EXPECT_NE(message.find("'inner'"), std::string::npos) << message;
      }
    }
  }
  std::vector<std::string> tested;
  for (const std::string& method : cutting_methods())
    tested.push_back(method.substr(0, method.find('(')));
  std::sort(can.begin(), can.end());
  std::sort(tested.begin(), tested.end());
  EXPECT_EQ(can, tested);
  for (const char* name : {"kvzip", "pyramidkv", "observed_attention", "finch", "canary_snapkv"}) {
    EXPECT_NE(std::find(cannot.begin(), cannot.end(), name), cannot.end()) << name;
  }
}

// A policy that cannot cut again may serve the prompt, with another one for the steps.
TEST(RepeatedCutInner, AnyPolicyMayServeThePrompt) {
  const auto model = random_model(small_config());
  const Rows prompt = random_ids(50, model->config.vocab, 1),
             suffix = random_ids(30, model->config.vocab, 2);
  Session session(model);
  for (const std::string text :
       {"observed_attention(ratio=0.5,decode=(every=10,keep=12,inner=tova))",
        "chunkkv(ratio=0.5,decode=(every=10,keep=12,inner=adakv(inner=knorm)))",
        "pyramidkv(ratio=0.5,window=4,decode=(every=10,ratio=0.75,inner=knorm))",
        "finch(ratio=0.5,window=4,decode=(every=10,keep=12,inner=streamingllm))+int8"}) {
    CompressedCache cell = start(session, parse_compressors(text, "test").front(), prompt);
    fed(session, cell.cache, suffix);
    size_t total = 0;
    for (const Rows& rows : rows_left(cell.cache)) total += rows.size();
    const size_t per_head = text.starts_with("pyramidkv") ? 20 : 12;  // of 80 tokens
    EXPECT_EQ(total, per_head * model->config.n_layers * model->config.n_kv_heads) << text;
  }
}

// Rows stand in the order of their positions, so the first ones stay the first however often the
// cache is cut.
TEST(RepeatedCutSinks, SurviveEveryCut) {
  const auto model = random_model(small_config());
  Session session(model);
  for (const std::string positions : {"original", "contiguous"}) {
    const CompressorSpec spec =
        spec_of("streamingllm", fmt::format("positions={},decode=(every=3,keep=10)", positions));
    CompressedCache cell = start(session, spec, random_ids(20, model->config.vocab, 1));
    fed(session, cell.cache, random_ids(90, model->config.vocab, 2));
    for (const Rows& rows : rows_left(cell.cache))
      EXPECT_EQ(rows, (Rows{0, 1, 2, 3, 104, 105, 106, 107, 108, 109})) << positions;
    const KvCache::Head& head = cell.cache.head(1, 1);
    EXPECT_EQ(head.position(9), positions == "original" ? 109 : 9);
    EXPECT_EQ(cell.cache.next_position(1, 1, 110), positions == "original" ? 110 : 10);
  }
}

TEST(RepeatedCutProtect, SpeaksOfTokens) {
  const auto model = random_model(small_config());
  Session session(model);
  for (const std::string positions : {"original", "contiguous"}) {
    const CompressorSpec spec = spec_of(
        "knorm",
        fmt::format("positions={},decode=(every=4,keep=8),protect=[[7,9],[33,33]]", positions));
    CompressedCache cell = start(session, spec, random_ids(30, model->config.vocab, 1));
    fed(session, cell.cache, random_ids(40, model->config.vocab, 2));
    for (const Rows& rows : rows_left(cell.cache)) {
      EXPECT_EQ(rows.size(), 8u);
      for (const int token : {7, 8, 9, 33})
        EXPECT_TRUE(std::binary_search(rows.begin(), rows.end(), token)) << positions << token;
    }
  }
}

// Every row that is left is coded as it was when it came.
TEST(RepeatedCutCodes, AreNeverMadeAnew) {
  const auto model = random_model(small_config());
  const Rows prompt = random_ids(50, model->config.vocab, 1);
  for (const char* codec : {"+f32", "+bf16", "+int4", "+int2(group=8,keys=post_rope)",
                            "+int8(hadamard=true)", "+flexgen4(group=16)"}) {
    Session session(model);
    const CompressorSpec spec = spec_of("tova", "decode=(every=5,keep=30)", codec);
    CompressedCache cell = start(session, spec, prompt);
    std::vector<std::vector<float>> seen(200);  // by token: key and value of layer 1, head 0
    for (int t = 0; t < 60; ++t) {
      const KvCache::Head& head = cell.cache.head(1, 0);
      const int dim = model->config.head_dim, width = padded(dim);
      std::vector<float> a(width * kTile), b(width * kTile);
      for (int tile = 0; tile * kTile < head.n_rows; ++tile) {
        const int n = std::min(kTile, head.n_rows - tile * kTile);
        const float* keys = cell.cache.load_keys(head, tile, n, {}, a.data());
        const float* values = cell.cache.load_values(head, tile, n, b.data());
        for (int r = 0; r < n; ++r) {
          std::vector<float> row(values + r * width, values + r * width + dim);
          for (int d = 0; d < dim; ++d) row.push_back(keys[d * kTile + r]);
          std::vector<float>& first = seen[head.original_position(tile * kTile + r)];
          if (first.empty()) first = row;
          EXPECT_EQ(row, first) << codec << " token " << head.original_position(tile * kTile + r);
        }
      }
      fed(session, cell.cache, random_ids(1, model->config.vocab, 100 + t));
    }
  }
}

}  // namespace
}  // namespace kv
