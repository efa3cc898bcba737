// Data in kv-exec-bench's six columns: context, question, answer_prefix, answer, task,
// max_new_tokens; as JSON lines or as CSV (RFC 4180) with a header. Further columns are kept apart:
// an answered file has predicted_answer.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace kv {

struct SixColumnRow {
  std::string context, question, answer_prefix;
  std::string answer;  // JSON text: what score() compares with
  std::string task;    // "tool_call"
  int max_new_tokens = 0;
  std::string predicted_answer;  // of an answered file
  std::string place;             // for messages: "calls.jsonl:3"
};

enum class Columns {
  kQuestions,  // the six
  kAnswered    // answer, task and predicted_answer; the others may be missing
};

// `.csv` is CSV, everything else JSON lines. Throws Error(kData) with the line.
std::vector<SixColumnRow> read_six_columns(const std::filesystem::path& path, Columns columns);

}  // namespace kv
