#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/paths.h"
#include "tests/tasks/sha256.h"
#include "tests/tasks/test_tools.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kReference = source_dir() / ".." / "shared" / "data" / "longctx_bench";
constexpr const char* kNoReference = "the reference inputs are not beside the source folder";

std::string prompt(const Sample& sample) {
  return byte_tools().decode(sample.context_ids) + byte_tools().decode(sample.continuation_ids);
}

TEST(Sha256, KnownDigests) {
  EXPECT_EQ(Sha256::hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256::hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Passkey, DefaultGridFitsItsLengths) {
  const auto task = make_task(text_value("passkey"), ".");
  const auto samples = task->samples(word_tools(), -1);
  ASSERT_EQ(samples.size(), 3u * 5 * 3);
  EXPECT_EQ(samples[0].meta.at("key"), "1043321");
  EXPECT_EQ(samples[3].meta.at("key"), "8637940");
  EXPECT_EQ(samples[3].meta.at("depth"), "0.25");
  std::set<std::string> ids;
  for (const Sample& sample : samples) {
    const size_t length = std::stoul(sample.meta.at("length"));
    const size_t tokens = sample.context_ids.size() + sample.continuation_ids.size();
    EXPECT_LE(tokens, length) << sample.id;
    EXPECT_GE(tokens + 2, length) << sample.id;
    ids.insert(sample.id);
  }
  EXPECT_EQ(ids.size(), samples.size());
}

TEST(Passkey, PromptReadsAsDocumented) {
  ScratchFolder folder;
  folder.write("b.txt", "one two three four ");
  const Value value = task_value("passkey", {{"data", text_value("b.txt")},
                                             {"unit", text_value("words")},
                                             {"lengths", number_list({6})},
                                             {"depths", Value::of(3.0)},
                                             {"repeats", Value::of(1.0)}});
  const auto samples = make_task(value, folder.folder())->samples(byte_tools(), -1);
  ASSERT_EQ(samples.size(), 3u);
  EXPECT_EQ(
      prompt(samples[1]),
      "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. "
      "I will quiz "
      "you about the important information there.\n"
      "one two three The pass key is 8196001. Remember it. 8196001 is the pass key. four one two "
      "\nWhat is the pass key? The pass key is ");
  EXPECT_EQ(samples[1].context_ids.front(), 256);  // the tokenizer's own special token
  EXPECT_EQ(samples[1].continuation_ids.front(), '\n');
}

TEST(Passkey, LimitKeepsTheKeysOfTheSamples) {
  const auto task = make_task(text_value("passkey"), ".");
  const auto few = task->samples(word_tools(), 4);
  ASSERT_EQ(few.size(), 4u);
  EXPECT_EQ(few[3].meta.at("key"), "8637940");
}

TEST(Passkey, CompareIsAParameterOfWhatGenerates) {
  Value no = Value::of(false), yes = Value::of(true);
  const auto bare = make_task(text_value("passkey"), ".");
  const auto off = make_task(task_value("passkey", {{"compare", no}}), ".");
  const auto on = make_task(task_value("passkey", {{"compare", yes}}), ".");
  EXPECT_FALSE(bare->compares());
  EXPECT_FALSE(off->compares());
  EXPECT_TRUE(on->compares());
  EXPECT_EQ(off->canonical(), bare->canonical());
  EXPECT_NE(on->canonical(), bare->canonical());  // its records have more scores
  const auto error = [](const std::string& task, Value value) {
    return error_of([&] { make_task(task_value(task, {{"compare", std::move(value)}}), "."); });
  };
  EXPECT_NE(error("passkey", Value::of("maybe")).find("'compare' must be"), std::string::npos);
  EXPECT_NE(error("perplexity", yes).find("compare"), std::string::npos);
}

TEST(Passkey, AQuestionInsideTheContextMakesOneText) {
  const auto bare = make_task(text_value("passkey"), ".");
  const auto aware = make_task(task_value("passkey", {{"query_aware", Value::of(true)}}), ".");
  const Sample apart = bare->samples(byte_tools(), 1).at(0);
  const Sample whole = aware->samples(byte_tools(), 1).at(0);
  EXPECT_EQ(prompt(whole), prompt(apart));
  EXPECT_TRUE(whole.continuation_ids.empty());
  EXPECT_EQ(whole.question_tokens, static_cast<int>(apart.continuation_ids.size()));
  EXPECT_NE(aware->version(), bare->version());
}

TEST(Passkey, Errors) {
  const auto message = [](std::vector<std::pair<std::string, Value>> entries, TextTools tools) {
    return error_of(
        [&] { make_task(task_value("passkey", std::move(entries)), ".")->samples(tools, -1); });
  };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != text.npos;
  };
  EXPECT_TRUE(has(message({}, TextTools{}), "no tokenizer"));
  EXPECT_TRUE(has(message({{"lengths", number_list({8})}}, word_tools()), "length 8 is too short"));
  EXPECT_TRUE(has(message({{"lengths", number_list({300, 300})}}, word_tools()), "300 twice"));
  EXPECT_TRUE(has(message({{"depths", Value::of(0.0)}}, word_tools()), "depths"));
  EXPECT_TRUE(
      has(error_of([] { make_task(text_value("passkeys"), "."); }), "did you mean 'passkey'"));
}

TEST(Passkey, ReferenceMetrics) {
  std::ifstream in(kReference / "golden_passkey_metrics.json");
  if (!in) GTEST_SKIP() << kNoReference;
  const auto task = make_task(text_value("passkey"), ".");
  const json cases = json::parse(in);
  for (const json& one : cases) {
    Sample sample;
    sample.meta["key"] = one["answer"];
    Answer answer;
    answer.text = one["response"];
    const Scores scores = task->score(sample, answer);
    EXPECT_EQ(scores.at("exact_match"), one["exact_match"].get<double>()) << one;
    EXPECT_DOUBLE_EQ(scores.at("partial_match"), one["partial_match"].get<double>()) << one;
  }
  EXPECT_EQ(cases.size(), 12u);
}

// Every prompt of a published grid, byte for byte. lengths: words.
void expect_reference_inputs(const std::string& file, std::vector<double> lengths, int depths,
                             int repeats, int digits) {
  std::ifstream in(kReference / file);
  if (!in) GTEST_SKIP() << kNoReference;
  const Value value = task_value("passkey", {{"data", text_value("paulgraham_background.txt")},
                                             {"unit", text_value("words")},
                                             {"lengths", number_list(std::move(lengths))},
                                             {"depths", Value::of(double(depths))},
                                             {"repeats", Value::of(double(repeats))},
                                             {"digits", Value::of(double(digits))}});
  const auto samples = make_task(value, kReference.string())->samples(byte_tools(), -1);
  size_t row = 0;
  for (std::string line; std::getline(in, line); ++row) {
    const json expected = json::parse(line);
    ASSERT_LT(row, samples.size());
    EXPECT_EQ(samples[row].meta.at("key"), expected["answer"]);
    EXPECT_EQ(prompt(samples[row]).size(), expected["full_input_bytes"]) << samples[row].id;
    EXPECT_EQ(Sha256::hex(prompt(samples[row])), expected["sha256"]) << samples[row].id;
  }
  EXPECT_EQ(row, samples.size());
}

const std::vector<double> kGrid = {512, 2730, 4949, 7168, 9386, 11605, 13824, 16042, 18261, 20480};

TEST(Passkey, ReferenceInputsWithSevenDigits) {
  expect_reference_inputs("golden_passkey_inputs_20480words_10x10x3_7digits.jsonl", kGrid, 10, 3,
                          7);
}
TEST(Passkey, ReferenceInputsWithSixtyFourDigits) {
  expect_reference_inputs("golden_passkey_inputs_20480words_10x10x3_64digits.jsonl", kGrid, 10, 3,
                          64);
}
TEST(Passkey, ReferenceInputsOfTheQuickGrid) {
  expect_reference_inputs("golden_passkey_inputs_20480words_1x1x1_7digits.jsonl", {20480}, 2, 1, 7);
}

}  // namespace
}  // namespace kv
