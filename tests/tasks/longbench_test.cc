// LongBench: scores from strings, prompts, truncation, and which files a config needs.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tasks/longbench_data.h"
#include "tasks/longbench_sets.h"
#include "tasks/scorers/rouge.h"
#include "tests/paths.h"
#include "tests/tasks/test_tools.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kReference = source_dir() / ".." / "shared" / "data" / "longctx_bench";
constexpr const char* kNoReference = "the reference scores are not beside the source folder";

const LongBenchSet& set_with_metric(const std::string& metric) {
  for (const LongBenchSet& set : longbench_sets()) {
    if (metric == set.metric) return set;
  }
  throw_usage("no set has {}", metric);
}

// cases: prediction, ground truth, classes and score under these names.
void expect_scores(const json& cases, const char* truth, const char* classes) {
  for (const json& one : cases) {
    LongBenchTruth answers{{one[truth]}, {}};
    if (one.contains(classes) && !one[classes].is_null()) answers.classes = one[classes];
    const double score =
        longbench_score(set_with_metric(one["metric"]), one["prediction"], answers);
    EXPECT_NEAR(score, one["score"].get<double>(), 1e-12) << one;
  }
}

TEST(LongBench, MetricsAgreeWithThePackagesThatItUses) {
  const json cases = json::parse(std::ifstream(source_dir() / "tests/data/longbench/metrics.json"));
  EXPECT_EQ(cases.size(), 117u);
  expect_scores(cases, "truth", "classes");
}

TEST(LongBench, ReferenceMetrics) {
  std::ifstream in(kReference / "golden_longbench_metrics.jsonl");
  if (!in) GTEST_SKIP() << kNoReference;
  json cases = json::array();
  for (std::string line; std::getline(in, line);) cases.push_back(json::parse(line));
  EXPECT_EQ(cases.size(), 89u);
  expect_scores(cases, "ground_truth", "all_classes");
}

TEST(LongBench, ReferenceScoresOfWholeSets) {
  std::ifstream in(kReference / "golden_longbench_scorer.json");
  if (!in) GTEST_SKIP() << kNoReference;
  const json golden = json::parse(in);
  EXPECT_EQ(golden.size(), 10u);
  for (const json& one : golden) {
    const LongBenchSet& set = *find_longbench_set(one["dataset"].get<std::string>());
    EXPECT_EQ(set.metric, one["metric"]);
    double sum = 0;
    for (size_t i = 0; i < one["predictions"].size(); ++i) {
      LongBenchTruth truth{one["answers"][i], {}};
      if (!one["all_classes"].is_null()) truth.classes = one["all_classes"];
      const std::string prediction = longbench_prediction(set, one["predictions"][i]);
      const double score = longbench_score(set, prediction, truth);
      EXPECT_EQ(prediction, one["raw_results"][i]["answers"]) << set.name;
      EXPECT_NEAR(score, one["raw_results"][i]["score"].get<double>(), 1e-12) << set.name;
      sum += score;
    }
    const double score = 100 * sum / static_cast<double>(one["predictions"].size());
    EXPECT_NEAR(score, one["score"].get<double>(), 0.005 + 1e-9) << set.name;
  }
}

TEST(LongBench, ReferencePromptsAndLengths) {
  const fs::path folder = kReference / "eval_config" / "longbench";
  if (!fs::exists(folder)) GTEST_SKIP() << kNoReference;
  for (const LongBenchSet& set : longbench_sets()) {
    const json eval =
        json::parse(std::ifstream(folder / (std::string(set.name) + ".json")))["eval_params"];
    EXPECT_EQ(set.prompt, eval["instruction"]);
    EXPECT_EQ(set.max_new_tokens, eval["max_new_tokens"]);
    EXPECT_EQ(json({set.metric}), eval["eval_metrics"]);
  }
}

TEST(LongBench, RougeOfSentencesTooLongForThePackage) {
  std::string text;
  for (int i = 0; i < 1500; ++i) text += fmt::format("w{} ", i);
  EXPECT_NEAR(rouge_l(text, text), 1, 1e-8);
}

json row(const std::string& context, const std::string& input) {
  return {{"context", context}, {"input", input}, {"answers", {"a"}}, {"length", 3}};
}

// One row of qasper with a prompt of the test's own.
std::vector<Sample> samples_of(const json& object, std::vector<std::pair<std::string, Value>> more,
                               const TextTools& tools, const std::string& set = "qasper") {
  ScratchFolder folder;
  folder.write(set + ".jsonl", object.dump() + "\n");
  more.insert(more.begin(), {{"dataset", text_value(set)}, {"data", text_value(".")}});
  return make_task(task_value("longbench", std::move(more)), folder.folder())->samples(tools, -1);
}

std::string text_of(const std::vector<int32_t>& ids) {
  return byte_tools().decode(ids);
}

TEST(LongBench, TheQuestionFollowsTheContext) {
  const auto sample = samples_of(row("CONTEXT", "INPUT"), {}, byte_tools()).at(0);
  const std::string context = text_of(sample.context_ids),
                    question = text_of(sample.continuation_ids);
  EXPECT_TRUE(context.ends_with("Article: CONTEXT")) << context;
  EXPECT_TRUE(question.ends_with("Question: INPUT\n\nAnswer:")) << question;
  EXPECT_EQ(sample.context_ids.front(), 256);  // the tokenizer's own special token
  EXPECT_EQ(sample.max_new_tokens, 128);
  const auto aware =
      samples_of(row("CONTEXT", "INPUT"), {{"query_aware", Value::of(true)}}, byte_tools()).at(0);
  EXPECT_EQ(text_of(aware.context_ids), context + question);
  EXPECT_TRUE(aware.continuation_ids.empty());
  EXPECT_EQ(aware.question_tokens, static_cast<int>(question.size()));
}

TEST(LongBench, AChatGoesAroundWhatIsNoExampleAndNoCode) {
  TextTools tools = byte_tools();
  tools.has_chat_template = true;
  tools.split_chat = [](const std::string& context) {
    return std::make_pair("<user>" + context, std::string("<model>"));
  };
  const auto chat = samples_of(row("C", "I"), {}, tools).at(0);
  EXPECT_TRUE(text_of(chat.context_ids).starts_with("<user>You are given"));
  EXPECT_EQ(chat.context_ids.front(), '<');  // the template writes special tokens
  EXPECT_TRUE(text_of(chat.continuation_ids).ends_with("Answer:<model>"));
  const auto off = samples_of(row("C", "I"), {{"chat", Value::of(false)}}, tools).at(0);
  EXPECT_TRUE(text_of(off.context_ids).starts_with("You are given"));
  const auto code = samples_of(row("C", "I"), {{"chat", Value::of(true)}}, tools, "lcc").at(0);
  EXPECT_TRUE(text_of(code.context_ids).starts_with("Please complete"));
  EXPECT_NE(error_of([&] {
              samples_of(row("C", "I"), {{"chat", Value::of(true)}}, byte_tools());
            }).find("no chat template"),
            std::string::npos);
}

TEST(LongBench, TheMiddleGoesBeforeTheTemplate) {
  const Value prompt = text_value("{context}|{input}");
  const auto cut = [&](double max_length, const char* truncate) {
    const auto sample = samples_of(row("0123456789", "?"),
                                   {{"prompt", prompt},
                                    {"truncate", text_value(truncate)},
                                    {"max_length", Value::of(max_length)}},
                                   byte_tools())
                            .at(0);
    return text_of(sample.context_ids) + "/" + text_of(sample.continuation_ids);
  };
  EXPECT_EQ(cut(13, "middle"), "0123456789/|?");  // with the special token 13
  // Twice 5 of 13 tokens; the first half has the special token, which its text lacks.
  EXPECT_EQ(cut(11, "middle"), "0123789/|?");
  EXPECT_EQ(cut(11, "none"), "0123456789/|?");
  EXPECT_NE(error_of([&] { cut(2, "middle"); }).find("max_length 2 is too short"),
            std::string::npos);
}

TEST(LongBench, SamsumIsOneLineAndNeverEmpty) {
  const auto sample = samples_of(row("C", "I"), {}, byte_tools(), "samsum").at(0);
  EXPECT_EQ(sample.end_ids, std::vector<int32_t>{'\n'});
  EXPECT_TRUE(sample.never_empty);
}

TEST(LongBench, ShippedRowsMakeEverySetWork) {
  const auto tasks = split_task(text_value("longbench"), ".");
  ASSERT_EQ(tasks.size(), 16u);
  for (const Value& value : tasks) {
    const auto task = make_task(value, ".");
    const auto samples = task->samples(byte_tools(), -1);
    ASSERT_EQ(samples.size(), 1u) << task->name();
    ASSERT_EQ(task->metrics().size(), 1u);
    Answer right;  // one of the row's own answers scores full marks
    right.text = json::parse(samples[0].meta.at("answers"))[0].get<std::string>();
    EXPECT_NEAR(task->score(samples[0], right).at(task->metrics()[0].name), 1, 1e-6)
        << task->name();
  }
}

TEST(LongBench, AListMakesATaskEach) {
  Value list;
  list.kind = Value::Kind::kList;
  list.items = {text_value("lcc"), text_value("trec")};
  const auto tasks = split_task(task_value("longbench", {{"dataset", list}}), ".");
  ASSERT_EQ(tasks.size(), 2u);
  EXPECT_EQ(make_task(tasks[1], ".")->name(), "longbench_trec");
  EXPECT_EQ(split_task(text_value("passkey"), ".").size(), 1u);
}

TEST(LongBench, EveryMissingFileIsNamedWithItsSource) {
  ScratchFolder folder;
  folder.write("qasper.jsonl", row("C", "I").dump());
  const auto task = task_value("longbench", {{"data", text_value(".")}});
  const std::string error = error_of([&] { split_task(task, folder.folder()); });
  for (const char* part :
       {"tasks[0].data", "15 of 16", "lcc.jsonl", "repobench-p.jsonl", "THUDM/LongBench"}) {
    EXPECT_NE(error.find(part), std::string::npos) << error << "\nlacks: " << part;
  }
  EXPECT_EQ(error.find("qasper"), std::string::npos) << error;
}

TEST(LongBench, BadRowsNameTheirLine) {
  const auto message = [](const std::string& line, const std::string& set) {
    ScratchFolder folder;
    folder.write(set + ".jsonl", row("C", "Paragraph 1").dump() + "\n" + line + "\n");
    return error_of([&] {
      read_longbench_rows(fs::path(folder.folder()) / (set + ".jsonl"), *find_longbench_set(set));
    });
  };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(has(message("{", "qasper"), "qasper.jsonl:2: not valid JSON"));
  EXPECT_TRUE(has(message(R"({"input": "", "answers": ["a"]})", "qasper"), "'context'"));
  EXPECT_TRUE(
      has(message(R"({"context": "", "input": "", "answers": "a"})", "qasper"), "'answers'"));
  EXPECT_TRUE(has(message("{}", "trec"), "all_classes"));
  EXPECT_TRUE(has(message("{}", "passage_retrieval_en"), "'Paragraph' and a number"));
  EXPECT_TRUE(has(error_of([] {
                    fill_longbench_prompt("{context} {inptu}", {{{"context", "c"}}, {}, 0}, "x");
                  }),
                  "{inptu}"));
  EXPECT_TRUE(has(error_of([] { fill_longbench_prompt("no", {}, "x"); }), "{context}"));
  EXPECT_EQ(fill_longbench_prompt("{{{context}}}", {{{"context", "c"}}, {}, 0}, "x").context, "{c");
}

}  // namespace
}  // namespace kv
