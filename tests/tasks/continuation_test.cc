#include <gtest/gtest.h>

#include "tests/tasks/test_tools.h"

namespace kv {
namespace {

std::unique_ptr<Task> task_on(const std::string& file, const ScratchFolder& folder) {
  return make_task(task_value("continuation", {{"data", text_value(file)},
                                               {"context", Value::of(4.0)},
                                               {"question", Value::of(1.0)},
                                               {"max_new_tokens", Value::of(3.0)}}),
                   folder.folder());
}

TEST(Continuation, WindowsAreContextQuestionAndAnswer) {
  ScratchFolder folder;
  folder.write("t.txt", "abcdefghijklmnopq");  // 17 bytes: two windows of 8, one byte dropped
  const auto samples = task_on("t.txt", folder)->samples(byte_tools(), -1);
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[1].context_ids, (std::vector<int32_t>{'i', 'j', 'k', 'l'}));
  EXPECT_EQ(samples[1].continuation_ids, (std::vector<int32_t>{'m'}));
  EXPECT_EQ(samples[1].max_new_tokens, 3);
  EXPECT_TRUE(samples[1].ignore_end);
  EXPECT_EQ(samples[1].kind, Sample::Kind::kGenerate);
  EXPECT_EQ(task_on("t.txt", folder)->samples(byte_tools(), 1).size(), 1u);
}

TEST(Continuation, TokenListsNeedNoTokenizer) {
  ScratchFolder folder;
  folder.write("t.json", "[[1,2,3,4,5,6,7,8,9], [1,2,3], [11,12,13,14,15,16,17,18]]");
  const auto samples = task_on("t.json", folder)->samples(TextTools(), -1);
  ASSERT_EQ(samples.size(), 2u);  // the list of three is shorter than a window
  EXPECT_EQ(samples[1].context_ids, (std::vector<int32_t>{11, 12, 13, 14}));
}

TEST(Continuation, ScoresCompareWithTheText) {
  ScratchFolder folder;
  folder.write("t.json", "[[1,2,3,4,5,6,7,8]]");
  const auto task = task_on("t.json", folder);
  const Sample sample = task->samples(TextTools(), -1).front();
  const auto scores = [&](std::vector<int32_t> ids) {
    Answer answer;
    answer.ids = std::move(ids);
    return task->score(sample, answer);
  };
  EXPECT_EQ(scores({6, 7, 8}), (Scores{{"token_match", 1.0}, {"same_until", 3.0}}));
  EXPECT_EQ(scores({6, 0, 8}), (Scores{{"token_match", 2.0 / 3}, {"same_until", 1.0}}));
  EXPECT_EQ(scores({0, 7, 0}), (Scores{{"token_match", 1.0 / 3}, {"same_until", 0.0}}));
}

TEST(Continuation, AWindowLongerThanTheTextIsAnError) {
  ScratchFolder folder;
  folder.write("t.txt", "abc");
  EXPECT_THROW(task_on("t.txt", folder)->samples(byte_tools(), -1), Error);
}

}  // namespace
}  // namespace kv
