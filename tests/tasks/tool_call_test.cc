#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tasks/gold_calls.h"
#include "tasks/scorers/call_score.h"
#include "tasks/six_columns.h"
#include "tests/paths.h"
#include "tests/tasks/test_tools.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kReference = source_dir() / ".." / "shared" / "data";
constexpr const char* kNoReference = "the reference inputs are not beside the source folder";

std::vector<json> lines_of(const fs::path& path) {
  std::vector<json> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) lines.push_back(json::parse(line));
  }
  return lines;
}

TextTools chat_tools() {
  TextTools tools = byte_tools();
  tools.split_chat = [](const std::string& context) {
    return std::make_pair("<user>" + context, std::string("</user>"));
  };
  return tools;
}

Answer answered(const std::string& text) {
  Answer answer;
  answer.text = text;
  return answer;
}

GoldCall lamp() {
  return read_gold_call(
      R"({"name": "lamp", "arguments": {"on": true}, "schema": {"type": "object",
          "properties": {"on": {"type": "boolean"}}, "required": ["on"],
          "additionalProperties": false}})",
      "test");
}

TEST(ToolCall, ReferenceScores) {
  const fs::path folder = kReference / "kv-exec-bench";
  if (!fs::exists(folder)) GTEST_SKIP() << kNoReference;
  const auto rows = read_six_columns(folder / "tool_call_rows.jsonl", Columns::kQuestions);
  const auto cases = lines_of(folder / "golden_tool_call_scores.jsonl");
  ASSERT_EQ(cases.size(), 66u);
  const char* metrics[] = {"json_valid", "name_match", "schema_valid", "args_exact",
                           "name_substring"};
  std::map<std::string, double> sums;
  for (const json& one : cases) {
    const SixColumnRow& row = rows.at(one.at("row").get<size_t>());
    const std::string output = one.at("predicted_answer");
    const Scores scores = score_call(read_gold_call(row.answer, row.place), output);
    for (const char* metric : metrics) {
      EXPECT_EQ(scores.at(metric), one.at(metric).get<double>()) << metric << ": " << output;
      sums[metric] += scores.at(metric);
    }
    const auto object = extract_first_object(output);
    ASSERT_EQ(object.has_value(), !one.at("extracted").is_null()) << output;
    if (!object) continue;
    const auto expected = parse_python_json(one.at("extracted").get<std::string>());
    EXPECT_TRUE(python_equal(*object, *expected)) << output;
  }
  const json figure = json::parse(std::ifstream(folder / "golden_figure.json"));
  for (const auto& [metric, value] :
       figure["aggregate_of_golden_tool_call_scores"]["tool_call"].items()) {
    EXPECT_NEAR(sums.at(metric) / 66, value.get<double>(), 5e-5) << metric;
  }
}

TEST(ToolCall, CanaryReferenceScores) {
  const fs::path folder = kReference / "kv-canary";
  if (!fs::exists(folder)) GTEST_SKIP() << kNoReference;
  std::map<std::string, GoldCall> gold;
  for (const CanaryCall& call : read_canary_calls(folder / "tool_calls.jsonl")) {
    gold[call.id] = call.gold;
  }
  EXPECT_EQ(gold.size(), 12u);
  const auto cases = lines_of(folder / "golden_tool_scores.jsonl");
  EXPECT_GE(cases.size(), 30u);
  for (const json& one : cases) {
    const std::string output = one.at("output");
    const Scores scores = score_canary_call(gold.at(one.at("id")), output);
    for (const auto& [metric, value] : one.at("scores").items()) {
      EXPECT_EQ(scores.at(metric), value.get<double>()) << metric << ": " << output;
    }
  }
}

TEST(ToolCall, ReferencePromptsOfOneCatalogue) {
  const fs::path folder = kReference / "kv-exec-bench";
  if (!fs::exists(folder)) GTEST_SKIP() << kNoReference;
  const auto task = make_task(
      task_value("tool_call", {{"data", text_value("tool_call_rows.jsonl")}}), folder.string());
  const auto samples = task->samples(chat_tools(), -1);
  ASSERT_EQ(samples.size(), 9u);
  std::ifstream in(folder / "catalog.txt", std::ios::binary);
  const std::string catalogue{std::istreambuf_iterator<char>(in), {}};
  for (const Sample& sample : samples) {
    EXPECT_EQ(byte_tools().decode(sample.context_ids), "<user>" + catalogue);
    EXPECT_EQ(sample.max_new_tokens, 128);
  }
  EXPECT_EQ(byte_tools().decode(samples[5].continuation_ids),
            "\nUser request: Convert 100 USD to EUR.\n</user>");
}

TEST(ToolCall, MetricsDoNotNestButTheConjunctionsDo) {
  const Scores wrong = score_call(lamp(), R"({"name": "door", "arguments": {"on": true}})");
  EXPECT_EQ(wrong.at("args_exact"), 1);
  EXPECT_EQ(wrong.at("schema_valid"), 1);
  EXPECT_EQ(wrong.at("name_and_args"), 0);
  EXPECT_EQ(wrong.at("name_and_schema"), 0);
  EXPECT_EQ(wrong.at("is_call"), 1);
  const Scores right = score_call(lamp(), R"(So: {"name": "lamp", "arguments": {"on": true}}.)");
  for (const auto& [metric, value] : right) EXPECT_EQ(value, 1) << metric;
}

TEST(ToolCall, AnObjectIsNotYetACall) {
  const Scores cut = score_call(lamp(), R"({"name": "lamp", "arguments": {"on": true})");
  EXPECT_EQ(cut.at("json_valid"), 1);
  EXPECT_EQ(cut.at("name_substring"), 1);
  EXPECT_EQ(cut.at("is_call"), 0);
  EXPECT_EQ(cut.at("args_exact"), 0);
  EXPECT_EQ(score_call(lamp(), "{} {\"name\": \"lamp\"}").at("name_match"), 0);
  EXPECT_EQ(score_call(lamp(), "").at("json_valid"), 0);
}

TEST(ToolCall, WorksWithoutDataAndItsGoldCallsScore) {
  const auto task = make_task(text_value("tool_call"), ".");
  const auto samples = task->samples(chat_tools(), -1);
  ASSERT_EQ(samples.size(), 20u);
  const auto rows =
      read_six_columns(source_dir() / "tasks/data/tool_calls.jsonl", Columns::kQuestions);
  for (size_t i = 0; i < samples.size(); ++i) {
    EXPECT_EQ(samples[i].context_ids, samples[0].context_ids) << "one prefill for all";
    for (const auto& [metric, value] : task->score(samples[i], answered(rows[i].answer))) {
      EXPECT_EQ(value, 1) << metric << " of row " << i;
    }
  }
  EXPECT_EQ(task->samples(chat_tools(), 3).size(), 3u);
}

TEST(ToolCall, CanaryWorksWithoutDataUnderBothNames) {
  const auto task = make_task(text_value("tool"), ".");
  EXPECT_EQ(task->canonical(),
            make_task(task_value("tool_call", {{"protocol", text_value("kv-canary")}}), ".")
                ->canonical());
  const auto samples = task->samples(byte_tools(), -1);
  ASSERT_EQ(samples.size(), 12u);
  EXPECT_EQ(samples[0].context_ids.front(), 256) << "the tokenizer's own special token";
  EXPECT_TRUE(samples[0].continuation_ids.empty());
  EXPECT_EQ(samples[0].max_new_tokens, 256);
  EXPECT_EQ(samples[0].id, "lamp");
  const Answer answer =
      answered(R"({"name": "switch_lamp", "arguments": {"room": "hall", "on": 1}})");
  for (const auto& [metric, value] : task->score(samples[0], answer)) EXPECT_EQ(value, 1) << metric;
  EXPECT_EQ(task->metrics()[0].name, "func_correct");
  for (const TaskInfo& info : all_tasks()) {
    if (info.name != "tool_call") continue;
    ASSERT_EQ(info.metrics.size(), 10u);
    EXPECT_EQ(info.metrics[0].name, "name_and_schema");
    EXPECT_EQ(info.metrics[1].name, "func_correct");  // before json_valid, which both have
  }
}

TEST(ToolCall, ParametersCutContextsAndAnswers) {
  const auto samples = make_task(task_value("tool_call", {{"max_context_length", Value::of(50.0)},
                                                          {"max_new_tokens", Value::of(7.0)}}),
                                 ".")
                           ->samples(chat_tools(), 1);
  EXPECT_EQ(samples[0].context_ids.size(), 50u);
  EXPECT_EQ(samples[0].max_new_tokens, 7);
}

TEST(ToolCall, Errors) {
  const auto has = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), text.npos) << text << "\nlacks: " << part;
  };
  has(error_of([] { read_gold_call("{", "f:3"); }), "f:3: answer: not valid JSON");
  has(error_of([] { read_gold_call("[]", "f:3"); }), "f:3: answer: expected a map");
  has(error_of([] { read_gold_call(R"({"name": 1})", "f:3"); }),
      "f:3: answer: name: expected the tool's name, found an integer");
  has(error_of([] { read_gold_call(R"({"name": "a", "arguments": {}})", "f:3"); }),
      "schema: expected a JSON Schema");
  has(error_of([] {
        read_gold_call(R"({"name": "a", "arguments": {}, "schema": {"pattern": "x"}})", "f:3");
      }),
      "f:3: answer: schema.pattern: this keyword is not supported");
  has(error_of([] {
        make_task(task_value("tool", {{"protocol", text_value("x")}}), ".");
      }),
      "'tool' is kv-canary's name");
  ScratchFolder folder;
  const std::string row = R"({"id": "a", "prompt": "p", "gold": {"name": "f", "arguments": {}}})";
  folder.write("twice.jsonl", row + "\n" + row + "\n");
  has(error_of([&] {
        make_task(task_value("tool", {{"data", text_value("twice.jsonl")}}), folder.folder());
      }),
      "two problems are called 'a'");
  has(error_of([] { make_task(text_value("tool_call"), ".")->samples(TextTools{}, -1); }),
      "the model has no tokenizer");
}

TEST(ToolCall, AnsweredFiles) {
  ScratchFolder folder;
  const json gold = {{"name", "f"}, {"arguments", json::object()}, {"schema", json::object()}};
  std::string text;
  for (const char* answer : {R"({"name": "f", "arguments": {}})", "f", "none"}) {
    const json row = {{"answer", gold.dump()},
                      {"task", text.empty() ? "first" : "second"},
                      {"predicted_answer", answer}};
    text += row.dump() + "\n";
  }
  folder.write("a.jsonl", text);
  const auto tasks = score_answered_file(fs::path(folder.folder()) / "a.jsonl");
  ASSERT_EQ(tasks.size(), 2u);
  EXPECT_EQ(tasks[0].task, "first");
  EXPECT_EQ(tasks[0].scores.at(0).at("name_and_args"), 1);
  ASSERT_EQ(tasks[1].scores.size(), 2u);
  EXPECT_EQ(tasks[1].scores[0].at("name_substring"), 1);
  EXPECT_EQ(tasks[1].scores[1].at("name_substring"), 0);
}

}  // namespace
}  // namespace kv
