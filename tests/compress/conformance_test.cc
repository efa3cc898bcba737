// What every eviction policy of the registry must do. A new line in the registry is tested here by
// being there.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "compress/registry.h"
#include "compress/select.h"
#include "kernels/parallel.h"
#include "tests/compress/random_layer.h"
#include "tests/every_method.h"
#include "tests/temp_folder.h"

namespace kv {
namespace {

using Rows = std::vector<int32_t>;

bool has_param(const std::string& method, const std::string& param) {
  for (const MethodInfo& info : all_methods()) {
    if (info.name != method) continue;
    for (const ParamSpec& spec : all_params(info)) {
      if (spec.name == param) return true;
    }
  }
  return false;
}

// Policies that remove rows: those that have `positions`.
std::vector<std::string> eviction_methods() {
  std::vector<std::string> names;
  for (const MethodInfo& info : all_methods()) {
    if (info.kind == "policy" && has_param(info.name, "positions")) names.push_back(info.name);
  }
  return names;
}

// Heads or layers keep what the method's own rule says; its worked examples test it.
const std::set<std::string> kOwnBudget = {"pyramidkv",     "simlayerkv", "adakv",
                                          "criticaladakv", "chunkkv",    "chunk",
                                          "per_layer",     "lukv",       "canary_streamingllm",
                                          "canary_snapkv", "kvzip"};
// What is kept does not follow from the scores of one head alone.
const std::set<std::string> kOwnChoice = {"simlayerkv",      "adakv", "criticaladakv",
                                          "chunkkv",         "chunk", "block",
                                          "entropy_chunkkv", "lukv",  "kvzip"};

// A file that a method reads, large enough for every layer of these tests.
std::string method_file(const std::string& tensor, const std::vector<int64_t>& shape) {
  return kv::testing::tensor_file(process_folder().path().string(), tensor, shape);
}

// What a policy decides for a model of this one layer.
LayerKeep decide(const KvPolicy& policy, RandomLayer& layer) {
  std::vector<LayerKeep> layers = {policy.select(layer.view(policy))};
  policy.settle(layers);
  return layers[0];
}

class EveryPolicy : public ::testing::TestWithParam<std::string> {
 protected:
  // A small window where the method has one, so that short prompts lie on both sides of it.
  static constexpr int kWindow = 8;

  CompressorSpec spec(double ratio, const std::string& more = "") const {
    std::string text = fmt::format("{}({}{}", GetParam(), strength(ratio), more);
    if (has_param(GetParam(), "window")) text += fmt::format(",window={}", kWindow);
    if (has_param(GetParam(), "inner") && GetParam() != "block" && GetParam() != "lukv") {
      text += fmt::format(",inner=snapkv(window={})", kWindow);
    }
    if (GetParam() == "qfilter") {
      text += fmt::format(",filters='{}'", method_file("q_filters", {1, 4, 24}));
    } else if (GetParam() == "lukv") {
      text += fmt::format(",curves='{}'", method_file("curves", {99, 1, 4}));
    }
    return parse_compressors(text + ")", "test").at(0);
  }
  // `ratio`, or what a method has instead; 0: nothing is removed.
  static std::string strength(double ratio) {
    if (GetParam() == "per_layer") return fmt::format("ratios=[{}]", ratio);
    if (GetParam() == "simlayerkv") {
      return fmt::format("threshold={},recent=20", ratio == 0 ? 1 : 0.1);
    }
    return fmt::format("ratio={}", ratio);
  }
  PolicyPtr policy(double ratio, const std::string& more = "") const {
    return spec(ratio, more).plan.policies.at(0);
  }
};

const int kLengths[] = {1, 2, 7, 8, 9, 31, 32, 33, 100, 257};
const double kRatios[] = {0.1, 0.25, 0.5, 0.75, 0.9, 0.99};

void expect_rising_rows(const Rows& rows, int n_rows) {
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_GE(rows[i], i == 0 ? 0 : rows[i - 1] + 1);
    EXPECT_LT(rows[i], n_rows);
  }
}

TEST_P(EveryPolicy, RatioZeroKeepsAllAndNeedsNothing) {
  for (const int n : kLengths) {
    RandomLayer layer({.n_tokens = n});
    const PolicyPtr p = policy(0);
    const KvNeeds needs = p->needs(n);
    EXPECT_EQ(needs.window_queries, 0);
    EXPECT_FALSE(needs.keys || needs.raw_keys || needs.values || needs.attention_received ||
                 needs.output_norms);
    EXPECT_TRUE(needs.query_statistics.empty() && needs.repeats.empty());
    const LayerKeep keep = decide(*p, layer);
    Rows all(n);
    std::iota(all.begin(), all.end(), 0);
    for (const Rows& rows : keep.rows) EXPECT_EQ(rows, all);
    EXPECT_TRUE(keep.scores.empty());
  }
}

TEST_P(EveryPolicy, KeepsTheDocumentedCountInRisingOrder) {
  for (const int n : kLengths) {
    for (const double ratio : kRatios) {
      for (const char* ties : {"", ",ties=torch"}) {
        SCOPED_TRACE(fmt::format("{} tokens at {}{}", n, ratio, ties));
        RandomLayer layer({.n_tokens = n});
        const PolicyPtr p = policy(ratio, ties);
        EXPECT_LE(p->needs(n).window_queries, n);
        const LayerKeep keep = decide(*p, layer);
        ASSERT_EQ(keep.rows.size(), 2u);
        const int expected = std::max(1, static_cast<int>(std::trunc(n * (1.0 - ratio))));
        for (const Rows& rows : keep.rows) {
          if (kOwnBudget.count(GetParam()) == 0) {
            EXPECT_EQ(static_cast<int>(rows.size()), expected);
          }
          EXPECT_GE(rows.size(), 1u);
          expect_rising_rows(rows, n);
        }
        for (const auto& scores : keep.scores) EXPECT_EQ(static_cast<int>(scores.size()), n);
      }
    }
  }
}

// Whatever is kept scores at least as high as whatever is not, save for rows that rank by position.
TEST_P(EveryPolicy, KeptRowsAreTheBestOnes) {
  if (kOwnChoice.count(GetParam()) > 0) GTEST_SKIP() << "not decided by one head's scores alone";
  RandomLayer layer({.n_tokens = 100});
  const PolicyPtr p = policy(0.5, ",ties=torch");
  const LayerKeep keep = decide(*p, layer);
  for (size_t h = 0; h < keep.rows.size(); ++h) {
    const auto& scores = keep.scores.at(h);
    std::vector<bool> kept(scores.size(), false);
    for (const int32_t r : keep.rows[h]) kept[r] = true;
    float worst_kept = INFINITY, best_dropped = -INFINITY;
    for (size_t r = 0; r < scores.size(); ++r) {
      if (kept[r]) worst_kept = std::min(worst_kept, scores[r]);
      if (!kept[r]) best_dropped = std::max(best_dropped, scores[r]);
    }
    EXPECT_GE(worst_kept, best_dropped);
  }
}

TEST_P(EveryPolicy, ProtectedRowsSurvive) {
  RandomLayer layer({.n_tokens = 60});
  for (const double ratio : {0.25, 0.5, 0.9, 0.99}) {
    for (const char* ties : {"position", "torch"}) {
      const PolicyPtr p =
          policy(ratio, fmt::format(",ties={},protect=[[20,26],[41,41],[58,900]]", ties));
      for (const Rows& rows : decide(*p, layer).rows) {
        for (const int position : {20, 21, 26, 41, 58, 59}) {
          EXPECT_TRUE(std::binary_search(rows.begin(), rows.end(), position)) << position;
        }
        if (kOwnBudget.count(GetParam()) > 0 || GetParam() == "entropy_chunkkv") continue;
        EXPECT_EQ(static_cast<int>(rows.size()), std::max(rows_kept(60, ratio), 10));
      }
    }
  }
}

TEST_P(EveryPolicy, ProtectionSpeaksOfPositionsNotRows) {
  RandomLayer layer({.n_tokens = 60});
  Rows odd;
  for (int p = 1; p < 60; p += 2) odd.push_back(p);
  layer.keep(0, odd);
  layer.keep(1, odd);
  const PolicyPtr p = policy(0.9, ",protect=[[20,24]]");
  for (const Rows& rows : decide(*p, layer).rows) {
    EXPECT_TRUE(std::binary_search(rows.begin(), rows.end(), 10));  // position 21
    EXPECT_TRUE(std::binary_search(rows.begin(), rows.end(), 11));  // position 23
  }
}

TEST_P(EveryPolicy, TakesHeadsOfDifferentLengths) {
  RandomLayer layer({.n_tokens = 50});
  layer.keep(0, {0, 1, 2, 10, 20, 30, 40, 41, 45, 48, 49});
  layer.keep(1, {33});
  const PolicyPtr p = policy(0.5);
  const LayerKeep keep = decide(*p, layer);
  EXPECT_GE(keep.rows[0].size(), 1u);
  if (kOwnBudget.count(GetParam()) == 0 && GetParam() != "entropy_chunkkv") {
    EXPECT_EQ(keep.rows[0].size(), 5u);
  }
  expect_rising_rows(keep.rows[0], 11);
  EXPECT_EQ(keep.rows[1], Rows{0});
}

TEST_P(EveryPolicy, SameAnswerForAnyNumberOfThreads) {
  RandomLayer layer({.n_tokens = 300, .n_heads = 8, .n_kv_heads = 4, .head_dim = 24, .seed = 3});
  const PolicyPtr p = policy(0.6);
  const int before = threads();
  set_threads(1);
  const LayerKeep one = decide(*p, layer);
  set_threads(2);
  const LayerKeep two = decide(*p, layer);
  set_threads(before);
  EXPECT_EQ(one.rows, two.rows);
  EXPECT_EQ(one.scores, two.scores);
}

// What one ratio scored serves the others only where it is the same.
TEST_P(EveryPolicy, ScoresThatRatiosShareAreTheirOwn) {
  RandomLayer layer({.n_tokens = 90});
  KnownScores known;
  for (const double ratio : {0.5, 0.1, 0.9, 0.5}) {
    SCOPED_TRACE(ratio);
    const PolicyPtr p = policy(ratio);
    const LayerKeep alone = decide(*p, layer);
    LayerView view = layer.view(*p);
    view.known_scores = &known;
    std::vector<LayerKeep> layers = {p->select(view)};
    p->settle(layers);
    EXPECT_EQ(layers[0].rows, alone.rows);
    EXPECT_EQ(layers[0].scores, alone.scores);
    EXPECT_EQ(layers[0].values, alone.values);
  }
  EXPECT_LE(known.size(), 1u);
}

TEST_P(EveryPolicy, CanonicalFormReadsBackAsItself) {
  for (const double ratio : kRatios) {
    const CompressorSpec a = spec(ratio, ",ties=torch,protect=[[3,4]],positions=canary");
    const CompressorSpec b = parse_compressors(a.canonical, "test").at(0);
    EXPECT_EQ(a.canonical, b.canonical);
    EXPECT_EQ(a.plan.policies[0]->spec(), a.canonical);
    EXPECT_EQ(b.plan.policies[0]->positions(), Positions::kCanary);
  }
}

TEST_P(EveryPolicy, NotesOnlyWhatAShortPromptForces) {
  EXPECT_EQ(policy(0.5)->note(1000), "");
  EXPECT_EQ(policy(0)->note(1), "");
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryPolicy, ::testing::ValuesIn(eviction_methods()));

PolicyPtr parsed(const std::string& spec) {
  return parse_compressors(spec, "test").at(0).plan.policies.at(0);
}

TEST(KnownScores, AreOfOneMethodWithItsParameters) {
  RandomLayer layer({.n_tokens = 90});
  KnownScores known;
  const auto select = [&](const std::string& spec) {
    const PolicyPtr p = parsed(spec);
    LayerView view = layer.view(*p);
    view.known_scores = &known;
    return p->select(view).rows;
  };
  const auto first = select("snapkv(ratio=0.5,window=8)");
  EXPECT_EQ(known.size(), 1u);
  // Found there, though another made them: what is known decides.
  for (auto& [name, scored] : known) {
    for (auto& scores : scored.scores) std::reverse(scores.begin(), scores.end());
  }
  EXPECT_NE(select("snapkv(ratio=0.5,window=8)"), first);
  select("adakv(ratio=0.25,inner=snapkv(window=8))");  // asks the same of the policy inside
  EXPECT_EQ(known.size(), 1u);
  select("snapkv(ratio=0.5,window=8,kernel=7)");
  select("pyramidkv(ratio=0.5,window=8)");
  EXPECT_EQ(known.size(), 3u);
  for (const char* own :
       {"streamingllm(ratio=0.5)", "canary_snapkv(ratio=0.5)", "kvzip(ratio=0.5)"})
    select(own);
  EXPECT_EQ(known.size(), 3u);  // theirs depend on the ratio, or are not worth it
}

TEST(Registry, EveryMethodIsDescribed) {
  for (const MethodInfo& info : all_methods()) {
    const bool eviction = has_param(info.name, "positions");
    const size_t common = !eviction ? 0 : has_param(info.name, "ratio") ? 7 : 6;
    EXPECT_EQ(all_params(info).size(), info.params.size() + common) << info.name;
    EXPECT_FALSE(info.doc.empty()) << info.name;
    EXPECT_TRUE(info.kind == "policy" || info.kind == "codec") << info.name;
    for (const ParamSpec& param : info.params) {
      EXPECT_FALSE(param.doc.empty()) << info.name << " " << param.name;
      EXPECT_FALSE(param.default_text.empty() && !param.required) << info.name << " " << param.name;
    }
  }
}

}  // namespace
}  // namespace kv
