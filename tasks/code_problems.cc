#include "tasks/code_problems.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

using nlohmann::json;

// A row with its place, for messages.
class Row {
 public:
  Row(const json& object, std::string place) : object_(object), place_(std::move(place)) {
    if (!object.is_object())
      throw_data("{}: expected an object, found {}", place_, object.type_name());
  }
  bool has(const char* key) const { return object_.contains(key); }
  const std::string& place() const { return place_; }

  std::string text(const char* key) const {
    if (!has(key)) throw_data("{}: expected a string under '{}', found no such key", place_, key);
    const json& value = object_[key];
    if (!value.is_string())
      throw_data("{}: {}: expected a string, found {}", place_, key, value.type_name());
    return value.get<std::string>();
  }
  std::string text_or(const char* key, const std::string& otherwise) const {
    return has(key) && !object_[key].is_null() ? text(key) : otherwise;
  }
  // A number or a string.
  std::string id(const char* key) const {
    if (has(key) && object_[key].is_number_integer()) return object_[key].dump();
    return text(key);
  }
  std::vector<std::string> texts(const char* key) const {
    std::vector<std::string> list;
    if (!has(key)) return list;
    if (!object_[key].is_array()) {
      throw_data("{}: {}: expected a list of strings, found {}", place_, key,
                 object_[key].type_name());
    }
    for (const json& item : object_[key]) {
      if (!item.is_string()) {
        throw_data("{}: {}: expected a list of strings, found {} in it", place_, key,
                   item.type_name());
      }
      list.push_back(item.get<std::string>());
    }
    return list;
  }

 private:
  const json& object_;
  std::string place_;
};

std::string check_name(const std::string& name, const std::string& place) {
  bool ok = !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) == 0;
  for (char c : name)
    ok = ok && (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || (c & 0x80) != 0);
  if (!ok) throw_data("{}: entry_point: expected a function's name, found '{}'", place, name);
  return name;
}

void set_check(CodeProblem& problem, const Row& row) {
  problem.entry_point = check_name(row.text("entry_point"), row.place());
  problem.solution = row.text_or("canonical_solution", "");
  problem.test = row.text("test") + "\n\ncheck(" + problem.entry_point + ")\n";
}

CodeProblem read_humaneval(const Row& row) {
  CodeProblem problem;
  problem.id = row.id("task_id");
  problem.prompt = problem.prefix = row.text("prompt");
  set_check(problem, row);
  return problem;
}

CodeProblem read_six_columns(const Row& row, size_t index) {
  CodeProblem problem;
  problem.id = std::to_string(index);
  problem.prompt =
      row.text("context") + row.text_or("question", "") + row.text_or("answer_prefix", "");
  problem.prefix = problem.prompt;
  const json answer = json::parse(row.text("answer"), nullptr, false);
  set_check(problem, Row(answer, row.place() + ": answer"));
  return problem;
}

// The function that the first test calls: the last one of the solution whose name stands in it.
std::string tested_function(const std::string& code, const std::string& test) {
  std::string found;
  for (std::string_view line : lines_not_blank(code)) {
    if (line.substr(0, 4) != "def ") continue;
    const std::string name(strip(line.substr(4, std::max<size_t>(line.find('('), 4) - 4)));
    if (!name.empty() && test.find(name + "(") != std::string::npos) found = name;
  }
  return found;
}

CodeProblem read_mbpp(const Row& row) {
  CodeProblem problem;
  problem.id = row.id("task_id");
  problem.prompt = row.text(row.has("text") ? "text" : "prompt");
  problem.is_whole = true;
  problem.solution = row.text("code");
  problem.examples = row.texts("test_list");
  if (problem.examples.empty()) throw_data("{}: test_list: has no tests", row.place());
  std::string setup = row.text_or("test_setup_code", "");
  for (const std::string& line : row.texts("test_imports")) setup += "\n" + line;
  if (!strip(setup).empty()) problem.prefix = setup + "\n";
  for (const std::string& test : problem.examples) problem.test += test + "\n";
  problem.entry_point = tested_function(problem.solution, problem.examples[0]);
  return problem;
}

CodeProblem read_canary(const Row& row) {
  CodeProblem problem;
  problem.id = row.id("id");
  problem.prompt = row.text("prompt");
  problem.prefix = row.text_or("prefix", "");
  problem.is_whole = problem.prefix.empty();
  problem.test = row.text("check");
  return problem;
}

CodeProblem read_row(const Row& row, size_t index) {
  if (row.has("entry_point")) return read_humaneval(row);
  if (row.has("test_list")) return read_mbpp(row);
  if (row.has("context")) return read_six_columns(row, index);
  if (row.has("check")) return read_canary(row);
  throw_data(
      "{}: expected a problem of HumanEval (with entry_point), MBPP (test_list), kv-exec-bench "
      "(context) or kv-canary (check), found none of these keys",
      row.place());
}

}  // namespace

std::vector<CodeProblem> read_code_problems(const std::string& text, const std::string& file) {
  std::vector<CodeProblem> problems;
  const bool is_list = strip(text).substr(0, 1) == "[";
  if (is_list) {
    const json list = json::parse(text, nullptr, false);
    if (list.is_discarded()) throw_data("{}: not valid JSON", file);
    for (const json& item : list)
      problems.push_back(
          read_row(Row(item, fmt::format("{}: [{}]", file, problems.size())), problems.size()));
  }
  for (const auto& [line, row] : numbered_rows(is_list ? std::string_view() : text)) {
    const std::string place = fmt::format("{}:{}", file, line);
    const json object = json::parse(row, nullptr, false);
    if (object.is_discarded()) throw_data("{}: not valid JSON", place);
    problems.push_back(read_row(Row(object, place), problems.size()));
  }
  if (problems.empty()) throw_data("{}: expected problems, found none", file);
  return problems;
}

}  // namespace kv
