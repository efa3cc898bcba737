// Scores of a tool call in a model's answer, as kv-exec-bench and as kv-canary count them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/scorers/python_json.h"
#include "tasks/task.h"

namespace kv {

// The call that an answer should hold.
struct GoldCall {
  std::string name;
  PyJson arguments;
  PyJson schema;  // kv-exec-bench only: of the gold tool's arguments
};

// kv-exec-bench: the first balanced {...} that parses, braces in strings not counted. From each '{'
// in turn, so that of a call without its last brace the arguments remain.
std::optional<PyJson> extract_first_object(std::string_view text);

// kv-canary: what stands between the first '{' and the last '}', where that parses.
std::optional<PyJson> extract_greedy_object(std::string_view text);

// json_valid, name_match, schema_valid, args_exact, name_substring as kv-exec-bench. Its metrics do
// not nest: another tool's call with arguments that fit scores schema_valid. Therefore beside them
// is_call (the object has name and arguments), name_and_schema and name_and_args.
Scores score_call(const GoldCall& gold, std::string_view answer);

// json_valid, func_correct, arg_match.
Scores score_canary_call(const GoldCall& gold, std::string_view answer);

// In the order of reports; the first is the headline.
std::vector<MetricInfo> call_metrics();
std::vector<MetricInfo> canary_call_metrics();

}  // namespace kv
