#include <gtest/gtest.h>

#include <cmath>

#include "tests/tasks/test_tools.h"

namespace kv {
namespace {

std::vector<int32_t> whole(const Sample& sample) {
  std::vector<int32_t> ids = sample.context_ids;
  ids.insert(ids.end(), sample.continuation_ids.begin(), sample.continuation_ids.end());
  return ids;
}

std::vector<Sample> samples_of(const Value& value, const ScratchFolder& folder, int limit = -1) {
  return make_task(value, folder.folder())->samples(byte_tools(), limit);
}

TEST(Perplexity, RawCutsTheWholeTextAndDropsTheTail) {
  ScratchFolder folder;
  folder.write("t.txt", "abcdefghij\nklm");
  const auto samples = samples_of(task_value("perplexity", {{"data", text_value("t.txt")},
                                                            {"max_length", Value::of(5.0)},
                                                            {"prefix_ratio", Value::of(0.5)}}),
                                  folder);
  ASSERT_EQ(samples.size(), 2u);  // 14 bytes: two windows of 5, 4 bytes dropped
  EXPECT_EQ(samples[0].context_ids, (std::vector<int32_t>{'a', 'b'}));  // trunc(5 * 0.5)
  EXPECT_EQ(samples[0].continuation_ids, (std::vector<int32_t>{'c', 'd', 'e'}));
  EXPECT_EQ(samples[0].kind, Sample::Kind::kScore);
  EXPECT_EQ(samples[1].id, "ppl1");
}

TEST(Perplexity, EosJoinsLinesThatAreNotBlank) {
  ScratchFolder folder;
  folder.write("t.txt", "ab\n  \n c\n\nd\r\n");
  const auto samples = samples_of(task_value("perplexity", {{"data", text_value("t.txt")},
                                                            {"join", text_value("eos")},
                                                            {"max_length", Value::of(7.0)}}),
                                  folder);
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_EQ(whole(samples[0]), (std::vector<int32_t>{'a', 'b', 257, ' ', 'c', 257, 'd'}));
}

TEST(Perplexity, RowsStandAloneWithSpecialTokens) {
  ScratchFolder folder;
  folder.write("t.jsonl",
               "{\"text\": \" abc \"}\n{\"text\": \"\", \"x\": 1}\n\n{\"text\": \"defghijkl\"}\n");
  const auto samples = samples_of(task_value("perplexity", {{"data", text_value("t.jsonl")},
                                                            {"join", text_value("rows")},
                                                            {"max_length", Value::of(6.0)}}),
                                  folder);
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(whole(samples[0]), (std::vector<int32_t>{256, 'a', 'b', 'c'}));
  EXPECT_EQ(samples[0].context_ids.size(), 2u);
  EXPECT_EQ(whole(samples[1]), (std::vector<int32_t>{256, 'd', 'e', 'f', 'g', 'h'}));
}

TEST(Perplexity, MinCharsLeavesShortRowsOut) {
  ScratchFolder folder;
  folder.write("t.txt", "short\na row that is longer\n");
  const auto samples = samples_of(task_value("perplexity", {{"data", text_value("t.txt")},
                                                            {"join", text_value("rows")},
                                                            {"min_chars", Value::of(6.0)}}),
                                  folder);
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_EQ(samples[0].id, "ppl0");
}

TEST(Perplexity, TokenListsNeedNoTokenizer) {
  ScratchFolder folder;
  folder.write("ids.json", "[[1,2,3,4,5],[6,7],[8,9,10,11]]");
  const auto task = make_task(
      task_value("perplexity", {{"data", text_value("ids.json")}, {"max_length", Value::of(4.0)}}),
      folder.folder());
  const auto samples = task->samples(TextTools{}, -1);
  ASSERT_EQ(samples.size(), 2u);  // each list cut alone: [6, 7] is a tail
  EXPECT_EQ(whole(samples[0]), (std::vector<int32_t>{1, 2, 3, 4}));
  EXPECT_EQ(whole(samples[1]), (std::vector<int32_t>{8, 9, 10, 11}));
  EXPECT_EQ(task->samples(TextTools{}, 1).size(), 1u);
}

TEST(Perplexity, ScoreAndAggregateWeighTokens) {
  ScratchFolder folder;
  folder.write("ids.json", "[[1,2,3]]");
  const auto task =
      make_task(task_value("perplexity", {{"data", text_value("ids.json")}}), folder.folder());
  Sample one, two;
  one.continuation_ids = {1, 2, 3};
  two.continuation_ids = {4};
  Answer answer_one, answer_two;
  answer_one.nll = {1, 2, 3};
  answer_two.nll = {6};
  const std::vector<Scores> scores = {task->score(one, answer_one), task->score(two, answer_two)};
  EXPECT_DOUBLE_EQ(scores[0].at("nll"), 2);
  EXPECT_DOUBLE_EQ(scores[0].at("ppl"), std::exp(2));
  const auto cell = task->aggregate(scores);
  EXPECT_DOUBLE_EQ(cell.at("nll").value, 3);  // (1 + 2 + 3 + 6) / 4, not (2 + 6) / 2
  EXPECT_DOUBLE_EQ(cell.at("ppl").value, std::exp(3));
  EXPECT_DOUBLE_EQ(cell.at("tokens").value, 4);
  EXPECT_EQ(cell.at("ppl").n, 2);
  EXPECT_LE(cell.at("ppl").ci_low, cell.at("ppl").value);
  EXPECT_GE(cell.at("ppl").ci_high, cell.at("ppl").value);
}

TEST(Perplexity, RowsAverageThePerplexities) {
  ScratchFolder folder;
  folder.write("ids.json", "[[1,2,3]]");
  const auto task = make_task(
      task_value("perplexity", {{"data", text_value("ids.json")}, {"join", text_value("rows")}}),
      folder.folder());
  const std::vector<Scores> scores = {{{"ppl", 2}, {"nll", std::log(2)}, {"tokens", 1}},
                                      {{"ppl", 4}, {"nll", std::log(4)}, {"tokens", 3}}};
  EXPECT_DOUBLE_EQ(task->aggregate(scores).at("ppl").value, 3);
}

TEST(Perplexity, ShippedProseFillsTheDefaultWindows) {
  const auto task = make_task(text_value("perplexity"), ".");
  EXPECT_EQ(task->data_hash().size(), 16u);
  EXPECT_GE(task->samples(byte_tools(), -1).size(), 45u);  // bytes as tokens: at least 45 KiB
  EXPECT_EQ(task->samples(byte_tools(), 3).size(), 3u);
}

TEST(Perplexity, ErrorsNameThePlace) {
  ScratchFolder folder;
  folder.write("bad.jsonl", "{\"text\": \"a\"}\n{\"txt\": 1}\n");
  folder.write("flat.json", "[1, 2]");
  folder.write("float.json", "[[1, 2.5]]");
  folder.write("short.txt", "abc");
  const auto message = [&](std::vector<std::pair<std::string, Value>> entries,
                           TextTools tools = byte_tools()) {
    return error_of([&] {
      make_task(task_value("perplexity", std::move(entries)), folder.folder())->samples(tools, -1);
    });
  };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != text.npos;
  };
  EXPECT_TRUE(has(message({{"data", text_value("bad.jsonl")}}), "bad.jsonl:2:"));
  EXPECT_TRUE(
      has(message({{"data", text_value("flat.json")}}), "[0]: expected a list of token ids"));
  EXPECT_TRUE(has(message({{"data", text_value("float.json")}}), "[0][1]: expected a token id"));
  EXPECT_TRUE(has(message({{"data", text_value("short.txt")}}), "3 tokens are fewer"));
  EXPECT_TRUE(has(message({{"data", text_value("none.txt")}}), "test.yaml:8: tasks[0].data"));
  EXPECT_TRUE(has(message({{"data", text_value("short.txt")}}, TextTools{}), "no tokenizer"));
  EXPECT_TRUE(has(message({{"join", text_value("lines")}}), "lines"));
  EXPECT_TRUE(has(message({{"max_lenght", Value::of(8.0)}}), "did you mean 'max_length'"));
  EXPECT_TRUE(has(message({{"max_length", Value::of(4.0)}, {"prefix_ratio", Value::of(0.1)}}),
                  "prefix_ratio"));
  TextTools no_eos = byte_tools();
  no_eos.eos_id = -1;
  EXPECT_TRUE(has(message({{"data", text_value("short.txt")}, {"join", text_value("eos")}}, no_eos),
                  "EOS"));
}

}  // namespace
}  // namespace kv
