#include "runner/sds.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/paths.h"

namespace kv {
namespace {

using nlohmann::json;

double number(const json& value) {
  if (value.is_number()) return value;
  return value == "inf" ? std::numeric_limits<double>::infinity()
                        : std::numeric_limits<double>::quiet_NaN();
}

TEST(Sds, ReferenceCases) {
  const auto path = source_dir() / ".." / "shared/data/kv-canary/golden_sds.json";
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << "the reference inputs are not beside the source folder";
  }
  const json cases = json::parse(std::ifstream(path));
  ASSERT_GE(cases.size(), 19u);
  for (const json& one : cases) {
    EXPECT_NEAR(canary_sds(number(one["func_full"]), number(one["func_comp"]),
                           number(one["ppl_full"]), number(one["ppl_comp"])),
                number(one["sds"]), 1e-9)
        << one;
  }
}

TEST(Sds, Formula) {
  EXPECT_NEAR(canary_sds(1, 0.6, 10, 14), 1, 1e-12);
  EXPECT_NEAR(canary_sds(1, 0.6, 10, 8), 400, 1e-9);
  EXPECT_EQ(canary_sds(0, 0, 10, 20), 0);
  EXPECT_NEAR(canary_sds(1, 0.5, 10, std::nan("")), 500, 1e-9);
}

TEST(Sds, GapStaysMeaningfulWherePerplexityDoesNotRise) {
  EXPECT_NEAR(degradation_gap(1, 0.6, 10, 10), 0.4, 1e-12);
  EXPECT_NEAR(degradation_gap(1, 0.6, 10, 9.9), 0.4 + 10 / 9.9 - 1, 1e-12);
  EXPECT_NEAR(degradation_gap(0.5, 0.25, 10, 20), 0, 1e-12);  // both lost a half
  EXPECT_NEAR(degradation_gap(0.5, 0.5, 10, 20), -0.5, 1e-12);
  EXPECT_TRUE(std::isnan(degradation_gap(0, 0, 10, 20)));
  EXPECT_TRUE(std::isnan(degradation_gap(1, 1, 10, std::nan(""))));
}

PairedScores calls(int n, int right_full, int right_cell) {
  PairedScores pair{"tool_call(protocol=kv-canary)", "func_correct", {}, {}};
  for (int i = 0; i < n; ++i) {
    pair.full[std::to_string(i)] = {{"func_correct", i < right_full ? 1.0 : 0.0}};
    pair.cell[std::to_string(i)] = {{"func_correct", i < right_cell ? 1.0 : 0.0}};
  }
  return pair;
}

PairedScores texts(double nll_full, double nll_cell) {
  PairedScores pair{"perplexity(join=raw)", "ppl", {}, {}};
  for (int i = 0; i < 8; ++i) {
    const double shift = 0.01 * i;
    for (auto* side : {&pair.full, &pair.cell}) {
      const double nll = (side == &pair.full ? nll_full : nll_cell) + shift;
      (*side)[std::to_string(i)] = {{"nll", nll}, {"ppl", std::exp(nll)}, {"tokens", 100}};
    }
  }
  return pair;
}

TEST(Sds, LossThatPerplexityHides) {
  const Degradation found = degradation({calls(40, 40, 20)}, texts(2, 2));
  EXPECT_EQ(found.n_functional, 40);
  EXPECT_EQ(found.n_perplexity, 8);
  EXPECT_NEAR(found.functional_full, 1, 1e-12);
  EXPECT_NEAR(found.functional_cell, 0.5, 1e-12);
  EXPECT_NEAR(found.ppl_full, std::exp(2.035), 1e-9);
  EXPECT_NEAR(found.sds, 500, 1e-6);
  EXPECT_NEAR(found.gap, 0.5, 1e-12);
  // The binomial interval of 20 of 40 is about 0.5 +- 0.155.
  EXPECT_NEAR(found.gap_interval.low, 0.345, 0.03);
  EXPECT_NEAR(found.gap_interval.high, 0.655, 0.03);
}

TEST(Sds, PairsMakeEqualCellsCertain) {
  const Degradation same = degradation({calls(40, 30, 30)}, texts(2, 2));
  EXPECT_EQ(same.sds, 0);
  EXPECT_EQ(same.gap, 0);
  EXPECT_EQ(same.gap_interval.low, 0);
  EXPECT_EQ(same.gap_interval.high, 0);
}

TEST(Sds, TasksCountAlikeHoweverManySamplesTheyHave) {
  PairedScores code{"code_exec(protocol=kv-canary)", "pass@1", {}, {}};
  for (int i = 0; i < 4; ++i) {
    code.full[std::to_string(i)] = code.cell[std::to_string(i)] = {{"pass@1", 1.0}};
  }
  const Degradation found = degradation({calls(40, 40, 0), code}, texts(2, 2));
  EXPECT_NEAR(found.functional_cell, 0.5, 1e-12);
}

TEST(Sds, Undefined) {
  const Degradation floor = degradation({calls(10, 0, 0)}, texts(2, 3));
  EXPECT_EQ(floor.sds, 0);
  EXPECT_TRUE(std::isnan(floor.gap));
  EXPECT_TRUE(std::isnan(floor.gap_interval.low));
  // One right answer of ten is missing from a third of the draws.
  EXPECT_TRUE(std::isnan(degradation({calls(10, 1, 0)}, texts(2, 3)).gap_interval.low));
  EXPECT_TRUE(std::isnan(degradation({}, texts(2, 3)).sds));
  PairedScores others = texts(2, 3);
  others.cell.clear();
  EXPECT_EQ(degradation({calls(10, 5, 5)}, others).n_perplexity, 0);
}

}  // namespace
}  // namespace kv
