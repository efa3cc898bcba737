#include "tasks/gold_calls.h"

#include <algorithm>

#include "engine/error.h"
#include "tasks/scorers/json_schema.h"
#include "tasks/six_columns.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

PyJson parse_or_throw(std::string_view text, const std::string& place) {
  std::string problem;
  std::optional<PyJson> value = parse_python_json(text, &problem);
  if (!value) throw_data("{}: not valid JSON: {}", place, problem);
  return std::move(*value);
}

const PyJson& entry(const PyJson& map, const char* key, PyJson::Kind kind, const char* expected,
                    const std::string& place) {
  const PyJson* value = map.find(key);
  if (value == nullptr || value->kind != kind) {
    throw_data("{}: {}: expected {}, found {}", place, key, expected,
               value == nullptr ? "nothing" : value->type_name());
  }
  return *value;
}

GoldCall name_and_arguments(const PyJson& map, const std::string& place) {
  GoldCall gold;
  gold.name = entry(map, "name", PyJson::Kind::kString, "the tool's name", place).text;
  if (gold.name.empty()) throw_data("{}: name: expected the tool's name, found none", place);
  gold.arguments = entry(map, "arguments", PyJson::Kind::kMap, "a map", place);
  return gold;
}

}  // namespace

GoldCall read_gold_call(const std::string& answer, const std::string& place) {
  const std::string here = place + ": answer";
  const PyJson map = parse_or_throw(answer, here);
  if (!map.is_map()) {
    throw_data("{}: expected a map with name, arguments and schema, found {}", here,
               map.type_name());
  }
  GoldCall gold = name_and_arguments(map, here);
  const PyJson* schema = map.find("schema");
  if (schema == nullptr) throw_data("{}: schema: expected a JSON Schema, found nothing", here);
  const std::string problem = schema_problem(*schema);
  if (!problem.empty()) throw_data("{}: {}", here, problem);
  gold.schema = *schema;
  return gold;
}

std::vector<CanaryCall> read_canary_calls(const std::filesystem::path& path) {
  const std::string text = read_text_file(path);
  std::vector<CanaryCall> calls;
  for (const auto& [line, row] : numbered_rows(text)) {
    const std::string place = fmt::format("{}:{}", path.string(), line);
    const PyJson map = parse_or_throw(row, place);
    if (!map.is_map()) throw_data("{}: expected a map, found {}", place, map.type_name());
    CanaryCall call;
    call.id = entry(map, "id", PyJson::Kind::kString, "a string", place).text;
    call.prompt = entry(map, "prompt", PyJson::Kind::kString, "a string", place).text;
    call.gold = name_and_arguments(entry(map, "gold", PyJson::Kind::kMap, "a map", place), place);
    calls.push_back(std::move(call));
  }
  return calls;
}

std::vector<AnsweredTask> score_answered_file(const std::filesystem::path& path) {
  std::vector<AnsweredTask> tasks;
  for (const SixColumnRow& row : read_six_columns(path, Columns::kAnswered)) {
    const auto known = std::find_if(tasks.begin(), tasks.end(), [&](const AnsweredTask& task) {
      return task.task == row.task;
    });
    AnsweredTask& task =
        known != tasks.end() ? *known : tasks.emplace_back(AnsweredTask{row.task, {}, {}});
    task.metrics = call_metrics();
    task.scores.push_back(score_call(read_gold_call(row.answer, row.place), row.predicted_answer));
  }
  return tasks;
}

}  // namespace kv
