// Other systems' report files, against what those systems made of the same data.
#include "runner/report_export.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tests/paths.h"
#include "tests/runner/program.h"

namespace kv {
namespace {

using Json = nlohmann::json;

std::filesystem::path shared_data() {
  return source_dir() / "../shared/data";
}

#define SKIP_WITHOUT(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << (path).string() << " is not here"

std::vector<CanaryRow> canary_rows(const Json& json) {
  std::vector<CanaryRow> rows;
  for (const Json& row : json) {
    rows.push_back({row["method"], row["budget"], row["task"],
                    row["scores"].get<std::map<std::string, double>>()});
  }
  return rows;
}

void expect_series(const std::vector<double>& ours, const Json& golden, const std::string& what) {
  ASSERT_EQ(ours.size(), golden.size()) << what;
  for (size_t i = 0; i < ours.size(); ++i) {
    if (golden[i].is_null()) {
      EXPECT_TRUE(std::isnan(ours[i])) << what;
    } else {
      EXPECT_NEAR(ours[i], golden[i].get<double>(), 1e-9) << what;
    }
  }
}

TEST(CanaryExport, MatchesItsReport) {
  const auto file = shared_data() / "kv-canary/golden_report.json";
  SKIP_WITHOUT(file);
  const Json golden = Json::parse(file_text(file));
  const auto aggregate = canary_aggregate(canary_rows(golden["rows"]));
  const auto expected = canary_rows(golden["aggregate"]);
  ASSERT_EQ(aggregate.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(aggregate[i].method, expected[i].method);
    EXPECT_EQ(aggregate[i].task, expected[i].task);
    for (const auto& [metric, value] : expected[i].scores) {
      EXPECT_NEAR(aggregate[i].scores.at(metric), value, 1e-9) << metric;
    }
  }
  const auto summary = canary_summary(aggregate);
  EXPECT_EQ(canary_markdown(summary), golden["results_md"].get<std::string>());
  const auto lines = canary_lines(summary);
  ASSERT_EQ(lines.size(), golden["divergence_series"].size());
  for (const auto& [method, series] : golden["divergence_series"].items()) {
    expect_series(lines.at(method).budgets, series["budgets"], method);
    expect_series(lines.at(method).functional, series["func_norm"], method);
    expect_series(lines.at(method).perplexity, series["ppl_norm"], method);
  }
}

SampleRecord record(const std::string& spec, const std::string& method, double budget,
                    const std::string& task) {
  SampleRecord r;
  r.model = "tiny";
  r.method = method;
  r.budget = budget;
  r.compression_ratio = 1 - budget;
  r.task = task;
  r.task_spec = task + "()";
  r.spec = spec;
  r.fingerprint = spec + task;
  r.sample_id = "s0";
  r.kv_bytes_full = r.kv_bytes = 100;
  r.stop_reason = "eos";
  return r;
}

TEST(CanaryExport, OurMethodsGoByItsNames) {
  std::vector<SampleRecord> records = {
      record("none", "none", 1, "tool_call"),
      record("canary_snapkv(x)", "canary_snapkv", 0.25, "code_exec"),
      record("absmax2", "absmax2", 1, "perplexity"),
      record("snapkv(y)+int4", "snapkv+int4", 0.5, "tool_call")};
  records[0].scores = {{"func_correct", 1}, {"json_valid", 1}, {"arg_match", 0}};
  records[1].scores = {{"pass@1", 1}};
  records[2].scores = {{"ppl", 9}, {"nll", 2}};
  const auto rows = canary_samples(records);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].method, "full");
  EXPECT_EQ(rows[0].task, "tool");
  EXPECT_EQ(rows[0].scores.size(), 3u);
  EXPECT_EQ(rows[1].method, "snapkv");
  EXPECT_EQ(rows[1].task, "code");
  EXPECT_EQ(rows[2].method, "quantized");
  EXPECT_EQ(rows[2].budget, 0.125);
  EXPECT_EQ(rows[2].scores, (std::map<std::string, double>{{"perplexity", 9}}));
  EXPECT_EQ(rows[3].method, "snapkv+int4");
  EXPECT_EQ(rows[3].budget, 0.125);
  const Json line = Json::parse(canary_jsonl({records[1]}));
  EXPECT_EQ(line["cell_id"], "tiny|snapkv|0.25|code");
  for (const char* key :
       {"sample_id", "scores", "raw_output", "n_tokens", "latency_s", "kv_bytes_retained"}) {
    EXPECT_TRUE(line.contains(key)) << key;
  }
}

TEST(CanaryExport, TwoOfOursUnderOneOfItsNamesAreNotMixed) {
  const auto rows = canary_samples({record("canary_snapkv(x)", "canary_snapkv", 0.5, "code_exec"),
                                    record("snapkv(y)", "snapkv", 0.5, "code_exec"),
                                    record("snapkv(z)", "snapkv", 0.25, "code_exec")});
  EXPECT_EQ(rows[0].method, "canary_snapkv");
  EXPECT_EQ(rows[1].method, "snapkv");
  EXPECT_EQ(rows[2].method, "snapkv");
  const auto variants = canary_samples({record("snapkv(y)", "snapkv", 0.5, "code_exec"),
                                        record("snapkv(z)", "snapkv", 0.5, "code_exec")});
  EXPECT_EQ(variants[0].method, "snapkv(y)");
  EXPECT_EQ(variants[1].method, "snapkv(z)");
}

TEST(ExecBenchExport, MatchesItsTableAndFigure) {
  const auto csv = shared_data() / "kv-exec-bench/results.csv";
  const auto figure = shared_data() / "kv-exec-bench/golden_figure.json";
  SKIP_WITHOUT(csv);
  const auto rows = parse_exec_bench_csv(file_text(csv), "results.csv");
  const Json golden = Json::parse(file_text(figure));
  EXPECT_EQ(rows.size(), golden["rows_in_csv"].get<size_t>());
  EXPECT_EQ(exec_bench_csv(rows), file_text(csv));
  for (const char* task : {"tool_call", "humaneval"}) {
    const auto contrast = exec_bench_contrast(rows, rows[0].model, task);
    for (const auto& [metric, series] : {std::pair(contrast.standard, contrast.standard_series),
                                         std::pair(contrast.exec, contrast.exec_series)}) {
      const Json& expected = golden["series"][std::string(task) + "/" + metric];
      ASSERT_EQ(series.size(), expected.size()) << task << " " << metric;
      for (const auto& [ratio, value] : expected.items()) {
        EXPECT_NEAR(series.at(std::stod(ratio)), value.get<double>(), 1e-9)
            << task << " " << metric;
      }
    }
    const Json& kept = golden["divergence"][task][0];
    EXPECT_NEAR(contrast.standard_retention, kept["standard_retention"].get<double>(), 1e-12);
    if (kept["exec_retention"].is_null()) {
      EXPECT_TRUE(std::isnan(contrast.exec_retention));
    } else {
      EXPECT_NEAR(contrast.exec_retention, kept["exec_retention"].get<double>(), 1e-12);
    }
  }
}

TEST(ExecBenchExport, OurCellsBecomeItsRows) {
  ReportCell none;
  none.model = "org/tiny";
  none.compressor = none.spec = "none";
  none.task = "tool_call";
  none.task_spec = "tool_call()";
  for (const char* name :
       {"args_exact", "json_valid", "name_match", "name_substring", "schema_valid"}) {
    none.metrics[name] = {8.0 / 9, 0, 1, 9};
  }
  ReportCell code = none;
  code.compressor = "snapkv";
  code.compression_ratio = 0.5;
  code.spec = "snapkv(ratio=0.5)";
  code.task_spec = "code_exec(data=HumanEval.jsonl)";
  code.metrics = {{"pass@1", {0.3, 0, 1, 10}}};
  EXPECT_EQ(exec_bench_csv(exec_bench_rows({none, code})),
            "model,press,compression_ratio,task,metric,value\n"
            "org/tiny,none,0.0,tool_call,json_valid,0.8889\n"
            "org/tiny,none,0.0,tool_call,name_match,0.8889\n"
            "org/tiny,none,0.0,tool_call,schema_valid,0.8889\n"
            "org/tiny,none,0.0,tool_call,args_exact,0.8889\n"
            "org/tiny,none,0.0,tool_call,name_substring,0.8889\n"
            "org/tiny,SnapKV,0.5,humaneval,pass@1,0.3\n"
            "org/tiny,SnapKV,0.5,humaneval,passed,3.0\n"
            "org/tiny,SnapKV,0.5,humaneval,total,10.0\n");
}

TEST(ExecBenchExport, ABrokenLineIsNamed) {
  try {
    parse_exec_bench_csv("model,press,compression_ratio,task,metric,value\na,b,c,d,e,1\n", "r.csv");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("r.csv:2"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace kv
