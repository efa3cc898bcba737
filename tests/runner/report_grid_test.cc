// Heat maps: scores on the grid of lengths and depths, in order, each with its colour.
#include "runner/report_grid.h"

#include <gtest/gtest.h>

#include <cmath>

namespace kv {
namespace {

ReportCell cell(const std::string& label, double ratio) {
  ReportCell c;
  c.label = label;
  c.compression_ratio = ratio;
  c.task_spec = "passkey(unit=tokens)";
  c.metrics["exact_match"] = {};
  return c;
}

void add(ReportCell& c, const std::string& id, const char* length, const char* depth,
         double score) {
  c.grid[id] = {length, depth};
  c.scores[id] = {{"exact_match", score}};
}

TEST(ReportGrid, OrdersByNumberAndTakesMeans) {
  ReportCell full = cell("none", 0), other = cell("snapkv", 0.5);
  add(full, "a", "1024", "1", 1);
  add(full, "b", "512", "0.1111111111111111", 1);
  add(full, "c", "512", "0.1111111111111111", 0);
  add(full, "d", "8192", "0", 0);
  add(other, "a", "1024", "1", 0);
  const auto maps = grid_maps({&full, &other});
  ASSERT_EQ(maps.size(), 2u);
  EXPECT_EQ(maps[0].title, "none");
  EXPECT_EQ(maps[1].title, "snapkv 0.5");
  EXPECT_EQ(maps[0].columns, (std::vector<std::string>{"512", "1024", "8192"}));
  EXPECT_EQ(maps[0].rows, (std::vector<std::string>{"0", "0.11", "1"}));
  EXPECT_EQ(maps[0].shares[1][0], 0.5);
  EXPECT_EQ(maps[0].shares[2][1], 1);
  EXPECT_EQ(maps[0].shares[0][2], 0);
  EXPECT_TRUE(std::isnan(maps[0].shares[0][0]));
  EXPECT_EQ(maps[1].shares[2][1], 0);
  EXPECT_EQ(grid_axes({&full}).x, "length, tokens");
  full.task_spec = "passkey(unit=words)";
  EXPECT_EQ(grid_axes({&full}).x, "length, words");
}

TEST(ReportGrid, TasksWithoutAGridHaveNoMaps) {
  const ReportCell full = cell("none", 0);
  EXPECT_TRUE(grid_maps({&full}).empty());
}

TEST(HeatSvg, ColoursRunFromLostToFound) {
  const HeatMap map{"a<b", {"1", "2", "3", "4"}, {"0"}, {{0, 0.5, 1, NAN}}};
  const std::string file = heat_svg("t", {"x", "y"}, {map}, 3);
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(has(file, "fill:#f0496e"));
  EXPECT_TRUE(has(file, "fill:#ebb839"));
  EXPECT_TRUE(has(file, "fill:#0cd79f"));
  EXPECT_TRUE(has(file, ">0.50</text>"));
  EXPECT_TRUE(has(file, "a&lt;b"));
  EXPECT_FALSE(has(file, "nan"));
  const std::string page = heat_svg("t", {"x", "y"}, {map}, 3, ChartUse::kPage);
  EXPECT_TRUE(has(page, "fill:var(--h0)") && has(page, "fill:var(--h5)"));
  EXPECT_FALSE(has(page, "#"));
  EXPECT_TRUE(has(heat_colours_css(), "--h10:#0cd79f"));
}

}  // namespace
}  // namespace kv
