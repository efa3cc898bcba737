// kvengine score, and tool calls through a whole run.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/paths.h"
#include "tests/runner/program.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<json> lines_of(const fs::path& path) {
  std::vector<json> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) lines.push_back(json::parse(line));
  }
  return lines;
}

TEST(Score, ReferenceAggregate) {
  const fs::path reference = source_dir() / ".." / "shared/data/kv-exec-bench";
  if (!fs::exists(reference)) {
    GTEST_SKIP() << "the reference inputs are not beside the source folder";
  }
  const auto rows = lines_of(reference / "tool_call_rows.jsonl");
  std::string text;
  for (const json& one : lines_of(reference / "golden_tool_call_scores.jsonl")) {
    json row = rows.at(one.at("row").get<size_t>());
    row["predicted_answer"] = one.at("predicted_answer");
    text += row.dump() + "\n";
  }
  const TestFolder folder;
  write_text(folder.path() / "answered.jsonl", text);
  const ProgramResult result = folder.run("score answered.jsonl");
  ASSERT_EQ(result.status, 0) << result.err;
  const json scores = json::parse(result.out).at("tool_call");
  const json figure = json::parse(file_text(reference / "golden_figure.json"));
  for (const auto& [metric, value] :
       figure["aggregate_of_golden_tool_call_scores"]["tool_call"].items()) {
    EXPECT_EQ(scores.at(metric), value) << metric;
    EXPECT_LT(scores["ci95"][metric][0], value) << metric;
    EXPECT_GT(scores["ci95"][metric][1], value) << metric;
  }
  EXPECT_EQ(scores["n"], 66);
}

TEST(Score, Csv) {
  const TestFolder folder;
  write_text(folder.path() / "a.csv",
             "task,answer,predicted_answer\n"
             "t,\"{\"\"name\"\": \"\"f\"\", \"\"arguments\"\": {}, \"\"schema\"\": {}}\","
             "\"{\"\"name\"\": \"\"f\"\", \"\"arguments\"\": {\"\"a\"\": 1}}\"\n");
  const json scores = json::parse(folder.run("score a.csv").out).at("t");
  EXPECT_EQ(scores["name_and_schema"], 1);
  EXPECT_EQ(scores["args_exact"], 0);
}

TEST(Score, ErrorsNameThePlace) {
  const TestFolder folder;
  ProgramResult result = folder.run("score nothing.csv");
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.err.find("nothing.csv"), std::string::npos);
  write_text(folder.path() / "a.jsonl", R"({"task": "t", "answer": "{}"})");
  result = folder.run("score a.jsonl");
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("a.jsonl:1: no column 'predicted_answer'"), std::string::npos)
      << result.err;
}

TEST(Score, ARunPrefillsACatalogueOnceForAllItsQuestions) {
  const TestFolder folder;
  write_text(folder.path() / "c.yaml",
             "models: ['" + tiny_model() +
                 "']\ncompressors: [none, knorm(ratio=0.5)]\n"
                 "tasks: [tool_call, tool]\nlimits: {tool: 2, tool_call: 3, max_new_tokens: 4}\n"
                 "run: {out: out, threads: 1}\n");
  const ProgramResult result = folder.run("run c.yaml --quiet");
  ASSERT_EQ(result.status, 0) << result.err;
  const auto records = lines_of(folder.path() / "out/samples.jsonl");
  ASSERT_EQ(records.size(), 2u * (3 + 2));
  int64_t catalogue = 0, prompts = 0;
  for (const json& record : records) {
    EXPECT_LE(record["n_tokens"], 4);
    const bool canary = record["scores"].contains("func_correct");
    EXPECT_EQ(record["scores"].size(), canary ? 3u : 8u);
    if (record["method"] != "none") continue;
    if (canary) {
      prompts += record["n_context"].get<int64_t>();
    } else {
      catalogue = record["n_context"];
    }
  }
  const json manifest = json::parse(file_text(folder.path() / "out/manifest.json"));
  EXPECT_NE(manifest.dump().find("\"tokens_prefilled\":" + std::to_string(catalogue + prompts)),
            std::string::npos)
      << manifest.dump(1);
}

}  // namespace
}  // namespace kv
