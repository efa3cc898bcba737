#include <gtest/gtest.h>

#include <fmt/format.h>

#include "tests/tasks/test_tools.h"

namespace kv {
namespace {

const char* const kRow =
    R"({"id": "a", "context": "C.", "turns": [{"prompt": "1:", "answer": "x"}, )"
    R"({"prompt": "2:", "answer": "y"}, {"prompt": "3:", "answer": "z"}, )"
    R"({"prompt": "4:", "answer": "w"}, {"prompt": "5:", "answer": "v"}], "stop": ["#"]})";

class LongOutputTask : public ::testing::Test {
 protected:
  std::unique_ptr<Task> make(const std::string& rows) {
    folder_.write("rows.jsonl", rows);
    return make_task(task_value("long_output", {{"data", text_value("rows.jsonl")}}),
                     folder_.folder());
  }
  std::string refusal(const std::string& rows) {
    try {
      make(rows);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  ScratchFolder folder_;
};

TEST_F(LongOutputTask, OneContextAndManyParts) {
  const auto task = make(std::string(kRow) + "\n");
  const auto samples = task->samples(byte_tools(), -1);
  ASSERT_EQ(samples.size(), 1u);
  const TextTools tools = byte_tools();
  EXPECT_EQ(tools.decode(samples[0].context_ids), "C.1:");
  EXPECT_TRUE(samples[0].continuation_ids.empty());
  ASSERT_EQ(samples[0].follow_ups.size(), 4u);
  EXPECT_EQ(tools.decode(samples[0].follow_ups[0]), "2:");
  EXPECT_EQ(samples[0].follow_ups[3], tools.encode("5:", false));
  EXPECT_EQ(samples[0].stop, std::vector<std::string>{"#"});
  EXPECT_EQ(samples[0].max_new_tokens, 64);
  EXPECT_TRUE(task->samples(byte_tools(), 0).empty());
}

TEST_F(LongOutputTask, ScoresByPlaceInTheOutput) {
  const auto task = make(kRow);
  const Sample sample = task->samples(byte_tools(), -1).front();
  Answer answer;
  answer.parts = {" x\n", "y", "wrong", "w", ""};
  const Scores scores = task->score(sample, answer);
  // Five pieces: the first quarter has the first two.
  EXPECT_DOUBLE_EQ(scores.at("exact"), 3.0 / 5);
  EXPECT_DOUBLE_EQ(scores.at("exact_q1"), 1);
  EXPECT_DOUBLE_EQ(scores.at("exact_q2"), 0);
  EXPECT_DOUBLE_EQ(scores.at("exact_q3"), 1);
  EXPECT_DOUBLE_EQ(scores.at("exact_q4"), 0);
  EXPECT_DOUBLE_EQ(scores.at("until_wrong"), 2.0 / 5);
  answer.parts = {"x", "y", "z", "w", "v"};
  for (const auto& [name, value] : task->score(sample, answer)) EXPECT_DOUBLE_EQ(value, 1) << name;
  answer.parts = {};
  for (const auto& [name, value] : task->score(sample, answer)) EXPECT_DOUBLE_EQ(value, 0) << name;
}

TEST_F(LongOutputTask, BadRowsAreNamed) {
  EXPECT_NE(refusal("{").find("rows.jsonl:1: expected a JSON object"), std::string::npos);
  EXPECT_NE(refusal(R"({"id": "a", "context": "c", "turns": []})").find("list of 4 or more"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"id": "a", "turns": []})").find("'context', found none"),
            std::string::npos);
  EXPECT_NE(refusal(fmt::format("{}\n{}\n", kRow, kRow)).find("rows.jsonl:2: two rows"),
            std::string::npos);
  std::string empty = kRow;
  empty.replace(empty.find("2:"), 2, "");
  EXPECT_NE(refusal(empty).find("not empty"), std::string::npos);
}

TEST_F(LongOutputTask, ShipsRowsOfBothKinds) {
  const auto task = make_task(text_value("long_output"), ".");
  int programs = 0, lists = 0;
  for (const Sample& sample : task->samples(byte_tools(), -1)) {
    EXPECT_GE(sample.follow_ups.size(), 7u);
    programs += sample.id.starts_with("program") ? 1 : 0;
    lists += sample.id.starts_with("list") ? 1 : 0;
  }
  EXPECT_EQ(programs, lists);
  EXPECT_GE(programs, 10);
}

}  // namespace
}  // namespace kv
