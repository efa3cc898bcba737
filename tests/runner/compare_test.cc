// Two runs side by side: values of the common samples, first differences, what is missing.
#include "runner/compare.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/runner/program.h"

namespace kv {
namespace {

SampleRecord record(const std::string& spec, const std::string& id, const std::string& output,
                    double score) {
  SampleRecord r;
  r.model = "tiny";
  r.method = spec;
  r.task = "passkey";
  r.task_spec = "passkey()";
  r.spec = spec;
  r.fingerprint = "f-" + spec;
  r.cell_id = "tiny/passkey()/" + spec;
  r.sample_id = id;
  r.kv_bytes = r.kv_bytes_full = 100;
  r.stop_reason = "eos";
  r.output = output;
  r.output_ids.assign(output.begin(), output.end());
  r.n_tokens = static_cast<int64_t>(output.size());
  r.logits_hash = output;
  r.scores = {{"exact_match", score}};
  return r;
}

std::vector<SampleRecord> before() {
  return {record("none", "s0", "abc", 1), record("none", "s1", "def", 1),
          record("none", "s2", "ghi", 0), record("int4", "s0", "abc", 1)};
}

std::vector<SampleRecord> after() {
  return {record("none", "s0", "abc", 1), record("none", "s1", "deX", 0),
          record("none", "s3", "jkl", 0), record("int8", "s0", "abc", 1)};
}

TEST(Compare, OnlyCommonSamplesCount) {
  const Comparison c = compare_runs(before(), after());
  ASSERT_EQ(c.cells.size(), 1u);
  const ComparedCell& cell = c.cells[0];
  EXPECT_EQ(cell.n_common, 2);
  EXPECT_EQ(cell.n_only_a, 1);
  EXPECT_EQ(cell.n_only_b, 1);
  EXPECT_EQ(cell.n_same_logits, 1);
  const ComparedMetric& metric = cell.metrics.at("exact_match");
  EXPECT_DOUBLE_EQ(metric.a, 1);
  EXPECT_DOUBLE_EQ(metric.b, 0.5);
  EXPECT_DOUBLE_EQ(metric.difference.value, -0.5);
  EXPECT_EQ(metric.difference.n, 2);
  EXPECT_DOUBLE_EQ(metric.difference.interval.low, -1);
  EXPECT_DOUBLE_EQ(metric.difference.interval.high, 0);
}

TEST(Compare, NamesTheFirstDifferenceAndMissingCells) {
  const Comparison c = compare_runs(before(), after());
  ASSERT_TRUE(c.cells[0].first_difference.has_value());
  EXPECT_EQ(c.cells[0].first_difference->sample_id, "s1");
  EXPECT_EQ(c.cells[0].first_difference->token, 2);
  EXPECT_FALSE(c.cells[0].first_difference->same_text);
  EXPECT_EQ(c.only_a, std::vector<std::string>{"tiny / passkey() / int4"});
  EXPECT_EQ(c.only_b, std::vector<std::string>{"tiny / passkey() / int8"});
}

TEST(Compare, EqualTextsMayDifferInTheirLogits) {
  auto other = before();
  other[1].logits_hash = "another";
  const Comparison c = compare_runs(before(), other);
  ASSERT_TRUE(c.cells[0].first_difference.has_value());
  EXPECT_EQ(c.cells[0].first_difference->sample_id, "s1");
  EXPECT_FALSE(c.cells[0].first_difference->token.has_value());
  EXPECT_TRUE(c.cells[0].first_difference->same_text);
  EXPECT_FALSE(c.cells[1].first_difference.has_value());
}

TEST(Compare, FailedSamplesAreNotCommon) {
  auto other = before();
  other[0].error = "failed";
  EXPECT_EQ(compare_runs(before(), other).cells[0].n_common, 2);
}

// A folder with what `compare` and `report` read of a run.
void make_run(const std::filesystem::path& folder, const std::vector<SampleRecord>& records) {
  std::filesystem::create_directories(folder);
  std::string lines;
  nlohmann::json cells = nlohmann::json::array();
  for (const SampleRecord& r : records) {
    lines += to_json_line(r) + "\n";
    cells.push_back({{"fingerprint", r.fingerprint}});
  }
  write_text(folder / "samples.jsonl", lines);
  const nlohmann::json manifest = {
      {"schema", 1},
      {"environment",
       {{"version", "v"}, {"commit", "c"}, {"cpu", "p"}, {"isa", "i"}, {"compiler", "g"}}},
      {"config",
       {{"run",
         {{"kv_dtype", "f16"},
          {"weights", "stored"},
          {"gemm", "native"},
          {"threads", 1},
          {"seed", 0},
          {"timing", false}}},
        {"compressors", {"none", "int4"}}}},
      {"started", "2026-01-01T00:00:00Z"},
      {"finished", "2026-01-01T00:00:01Z"},
      {"exit_reason", "done"},
      {"tokens_prefilled", 1},
      {"tokens_requested", 1},
      {"models", {{{"name", "tiny"}}}},
      {"tasks", {{{"canonical", "passkey()"}, {"name", "passkey"}, {"limit", nullptr}}}},
      {"cells", cells}};
  write_text(folder / "manifest.json", manifest.dump());
}

TEST(CompareVerb, PrintsATableOrJson) {
  const TestFolder folder;
  make_run(folder.path() / "a", before());
  make_run(folder.path() / "b", after());
  const ProgramResult table = folder.run("compare a b");
  ASSERT_EQ(table.status, 0) << table.err;
  for (const char* part : {"exact_match", "-0.5000 [-1.000, 0]", "s1, token 2",
                           "only in A: tiny / passkey() / int4", "1 samples only in A"}) {
    EXPECT_NE(table.out.find(part), std::string::npos) << part << "\n" << table.out;
  }
  const ProgramResult json = folder.run("compare a b --json");
  ASSERT_EQ(json.status, 0) << json.err;
  const auto parsed = nlohmann::json::parse(json.out);
  EXPECT_EQ(parsed["cells"][0]["metrics"]["exact_match"]["difference"], -0.5);
  EXPECT_EQ(parsed["cells"][0]["first_difference"]["sample_id"], "s1");
  EXPECT_EQ(parsed["only_b"][0], "tiny / passkey() / int8");
}

TEST(CompareVerb, AFolderThatIsNoRunEndsWithThree) {
  const TestFolder folder;
  make_run(folder.path() / "a", before());
  std::filesystem::create_directories(folder.path() / "empty");
  for (const char* arguments : {"compare a empty", "compare empty a", "compare a missing"}) {
    const ProgramResult result = folder.run(arguments);
    EXPECT_EQ(result.status, 3) << arguments;
    EXPECT_NE(result.err.find("manifest.json"), std::string::npos) << result.err;
    EXPECT_EQ(result.out, "");
  }
}

TEST(ReportVerb, OtherFormatsGoToAFolderOfTheirOwn) {
  const TestFolder folder;
  auto records = before();
  for (SampleRecord& r : records) {
    r.task = "perplexity";
    r.task_spec = "perplexity(join=rows)";
    r.scores = {{"ppl", r.spec == "none" ? 10 : 12.5}, {"nll", 1}, {"tokens", 5}};
  }
  make_run(folder.path() / "a", records);
  const ProgramResult canary = folder.run("report --format kv-canary a");
  ASSERT_EQ(canary.status, 0) << canary.err;
  EXPECT_EQ(file_text(folder.path() / "a/kv-canary/RESULTS.md"),
            "| method | budget | functional | perplexity | SDS |\n|---|---|---|---|---|\n"
            "| full | 1.0 | - | 10.00 | 0.0 |\n| quantized | 0.25 | - | 12.50 | - |\n");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "a/RESULTS.md"));
  EXPECT_EQ(folder.run("report --format kv-exec-bench a").status, 2);  // no task of its
  EXPECT_EQ(folder.run("report --format unknown a").status, 2);
}

TEST(ReportVerb, KvExecBenchHasItsContrastFigure) {
  const TestFolder folder;
  auto records = before();
  for (SampleRecord& r : records) {
    r.task = "tool_call";
    r.task_spec = "tool_call(protocol=kv-exec-bench)";
    r.scores = {{"json_valid", 1}, {"schema_valid", r.spec == "none" ? 1 : 0}};
  }
  make_run(folder.path() / "a", records);
  ASSERT_EQ(folder.run("report --format kv-exec-bench a").status, 0);
  const auto out = folder.path() / "a/kv-exec-bench";
  EXPECT_EQ(file_text(out / "results.csv").substr(0, 52),
            "model,press,compression_ratio,task,metric,value\ntiny");
  EXPECT_NE(file_text(out / "figures/contrast_tool_call.svg").find("schema_valid (exec/struct)"),
            std::string::npos);
  EXPECT_EQ(file_text(out / "figures/contrast_tool_call.png").substr(1, 3), "PNG");
}

}  // namespace
}  // namespace kv
