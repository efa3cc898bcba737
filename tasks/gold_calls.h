// The expected tool calls of data files, checked when they are read.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tasks/scorers/call_score.h"

namespace kv {

// kv-exec-bench's `answer`: JSON text with name, arguments and schema. Throws Error(kData), which
// starts with `place`.
GoldCall read_gold_call(const std::string& answer, const std::string& place);

// kv-canary: one problem for each line, with id, prompt and gold {name, arguments}.
struct CanaryCall {
  std::string id, prompt;
  GoldCall gold;
};
std::vector<CanaryCall> read_canary_calls(const std::filesystem::path& path);

// The scores of an already answered file (column predicted_answer), for each value of its column
// `task`, in the order in which these first appear.
struct AnsweredTask {
  std::string task;
  std::vector<MetricInfo> metrics;
  std::vector<Scores> scores;  // one for each row
};
std::vector<AnsweredTask> score_answered_file(const std::filesystem::path& path);

}  // namespace kv
