// The average over tasks: which count, what it is, and what a compressor without one of them gets.
#include "runner/report_average.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/runner/sample_record.h"

namespace kv {
namespace {

SampleRecord record(const std::string& task_spec, const std::string& spec, double ratio, int sample,
                    std::map<std::string, double> scores) {
  SampleRecord r = sample_record(task_spec, spec, ratio);
  r.sample_id = "s" + std::to_string(sample);
  r.kv_bytes_full = 1000;
  r.kv_bytes = static_cast<int64_t>(1000 * (1 - ratio));
  r.scores = std::move(scores);
  return r;
}

constexpr const char* kKeys = "passkey(lengths=[512])";
constexpr const char* kCode = "code_exec()";
constexpr const char* kText = "perplexity(join=raw,max_length=512,prefix_ratio=0.5,min_chars=0)";

// Two tasks of 8 and 2 samples, of which a compressor gets `keys` and `code` right.
void add(std::vector<SampleRecord>& records, const std::string& spec, double ratio, int keys,
         int code) {
  for (int i = 0; i < 8; ++i)
    records.push_back(record(kKeys, spec, ratio, i, {{"exact_match", i < keys ? 1.0 : 0.0}}));
  for (int i = 0; i < 2 && code >= 0; ++i)
    records.push_back(record(kCode, spec, ratio, i, {{"pass@1", i < code ? 1.0 : 0.0}}));
  records.push_back(
      record(kText, spec, ratio, 0, {{"ppl", 9}, {"nll", std::log(9)}, {"tokens", 4}}));
}

std::vector<ReportCell> cells_of(const std::vector<SampleRecord>& records) {
  return report_cells(records, ManifestInfo{});
}

std::vector<SampleRecord> some_records() {
  std::vector<SampleRecord> records;
  add(records, "none", 0, 8, 2);
  add(records, "knorm(ratio=0.5)", 0.5, 6, 1);
  add(records, "knorm(ratio=0.75)", 0.75, 2, 0);
  add(records, "int4()", 0, 8, 2);
  return records;
}

TEST(Average, EveryTaskCountsOnceWhateverItsSamples) {
  const std::vector<ReportCell> cells = cells_of(some_records());
  const AverageTable table = average_table(cells, "tiny");
  ASSERT_EQ(table.tasks.size(), 2u);  // not perplexity
  ASSERT_EQ(table.rows.size(), 4u);
  EXPECT_TRUE(table.rows[0].cell->is_baseline());
  EXPECT_EQ(table.rows[0].value, 1);
  EXPECT_EQ(table.rows[0].difference, 0);
  for (const AverageRow& row : table.rows) {
    EXPECT_EQ(row.n, 10);
    if (row.cell->compression_ratio != 0.5) continue;
    EXPECT_DOUBLE_EQ(row.value, (6.0 / 8 + 1.0 / 2) / 2);
    EXPECT_DOUBLE_EQ(row.difference, row.value - 1);
    EXPECT_LT(row.interval.low, row.value);
    EXPECT_GT(row.interval.high, row.value);
    EXPECT_LT(row.difference_interval.high, 0.01);
    EXPECT_DOUBLE_EQ(row.kv_retained, 0.5);
  }
  EXPECT_TRUE(table.left_out.empty());
  const std::string how = how_averages_are_made(table);
  for (const char* part : {"the 2 tasks", "`passkey` (exact_match, n = 8)", "pass@1", "Perplexity"})
    EXPECT_NE(how.find(part), how.npos) << how;
}

TEST(Average, OnlyCompressorsWithAllTasks) {
  std::vector<SampleRecord> records = some_records();
  add(records, "snapkv(ratio=0.5)", 0.5, 8, -1);
  const std::vector<ReportCell> cells = cells_of(records);
  const AverageTable table = average_table(cells, "tiny");
  EXPECT_EQ(table.rows.size(), 4u);
  ASSERT_EQ(table.left_out.size(), 1u);
  EXPECT_NE(table.left_out[0].find("snapkv"), std::string::npos);
}

TEST(Average, TasksOffTheScaleAreLeftOutAndNamed) {
  std::vector<SampleRecord> records = some_records();
  for (const char* spec : {"none", "knorm(ratio=0.5)"})
    records.push_back(record("continuation(x=1)", spec, 0, 0, {{"token_match", 32}}));
  const std::vector<ReportCell> cells = cells_of(records);
  const AverageTable table = average_table(cells, "tiny");
  EXPECT_EQ(table.tasks.size(), 2u);
  EXPECT_EQ(table.rows.size(), 4u);
  ASSERT_EQ(table.left_out.size(), 1u);
  EXPECT_NE(table.left_out[0].find("no score from 0 to 1"), std::string::npos) << table.left_out[0];
}

TEST(Average, NothingWithoutTheFullCacheOrAnythingBesideIt) {
  std::vector<SampleRecord> alone, headless;
  add(alone, "none", 0, 8, 2);
  add(headless, "knorm(ratio=0.5)", 0.5, 8, 2);
  EXPECT_TRUE(average_table(cells_of(alone), "tiny").rows.empty());
  EXPECT_TRUE(average_table(cells_of(headless), "tiny").rows.empty());
}

TEST(Average, LinesBeginAtTheFullCache) {
  const std::vector<ReportCell> cells = cells_of(some_records());
  const AverageTable table = average_table(cells, "tiny");
  const ChartPanel panel = average_panel(table, "tiny");
  ASSERT_EQ(panel.series.size(), 2u);  // a codec removes no rows
  EXPECT_TRUE(panel.series[0].reference);
  ASSERT_EQ(panel.series[1].points.size(), 3u);
  EXPECT_EQ(panel.series[1].points[0].x, 0);
  EXPECT_EQ(panel.series[1].points[0].y, 1);
  EXPECT_EQ(panel.series[1].points[2].x, 0.75);
  EXPECT_EQ(average_figure(table, "a/b"), "average_a-b");
}

}  // namespace
}  // namespace kv
