#include "tasks/longbench_data.h"

#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tasks/scorers/number_share.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kSource =
    "LongBench's own files, <data set>.jsonl in data.zip of THUDM/LongBench on the Hugging Face "
    "hub; "
    "unpack it and name its folder here";

std::vector<std::string> read_texts(const json& row, const char* field, const std::string& place) {
  const auto value = row.find(field);
  const bool texts =
      value != row.end() && value->is_array() &&
      std::all_of(value->begin(), value->end(), [](const json& item) { return item.is_string(); });
  if (!texts) {
    throw_data("{}: expected a list of strings under '{}', found {}", place, field,
               value == row.end() ? "nothing" : value->type_name());
  }
  return value->get<std::vector<std::string>>();
}

LongBenchRow read_row(const json& object, const LongBenchSet& set, const std::string& place) {
  LongBenchRow row;
  for (const auto& [name, value] : object.items()) {
    if (value.is_string()) row.fields[name] = value.get<std::string>();
    if (value.is_number_integer()) row.fields[name] = value.dump();
  }
  for (const char* name : {"context", "input"}) {
    if (!object.contains(name) || !object[name].is_string()) {
      throw_data("{}: expected a string under '{}', found {}", place, name,
                 object.contains(name) ? object[name].type_name() : "nothing");
    }
  }
  row.truth.answers = read_texts(object, "answers", place);
  const std::string_view metric = set.metric;
  if (metric == "classification_score") {
    row.truth.classes = read_texts(object, "all_classes", place);
  }
  if (row.truth.answers.empty()) throw_data("{}: 'answers' is empty", place);
  if (metric == "retrieval_score") {
    for (const std::string& answer : row.truth.answers) {
      if (paragraph_number(answer)) continue;
      throw_data("{}: answers: expected 'Paragraph' and a number, found '{}'", place, answer);
    }
  }
  if (object.contains("length") && object["length"].is_number_integer()) {
    row.length = object["length"].get<int>();
  }
  return row;
}

}  // namespace

fs::path longbench_file(const fs::path& folder, const LongBenchSet& set) {
  return folder / (std::string(set.name) + ".jsonl");
}

std::vector<LongBenchRow> read_longbench_rows(const fs::path& file, const LongBenchSet& set) {
  const std::string text = read_text_file(file);
  std::vector<LongBenchRow> rows;
  for (const auto& [line, row] : numbered_rows(text)) {
    const std::string place = fmt::format("{}:{}", file.string(), line);
    const json object = json::parse(row, nullptr, false);
    if (object.is_discarded()) throw_data("{}: not valid JSON", place);
    if (!object.is_object()) {
      throw_data("{}: expected an object, found {}", place, object.type_name());
    }
    rows.push_back(read_row(object, set, place));
  }
  return rows;
}

void check_longbench_folder(const fs::path& folder, const std::vector<const LongBenchSet*>& sets,
                            const std::string& place) {
  std::error_code ignored;  // a name that is too long is no folder either
  if (!fs::is_directory(folder, ignored)) {
    throw_data("{}: data: {} is no folder; expected one with {}", place, folder.string(), kSource);
  }
  std::vector<std::string> missing;
  for (const LongBenchSet* set : sets) {
    const fs::path file = longbench_file(folder, *set);
    if (!fs::is_regular_file(file, ignored)) missing.push_back(file.filename().string());
  }
  if (missing.empty()) return;
  throw_data(
      "{}: data: {} of {} files are not in {}: {}. They are {}; or list the others under 'dataset'",
      place, missing.size(), sets.size(), folder.string(), fmt::join(missing, ", "), kSource);
}

LongBenchPrompt fill_longbench_prompt(const std::string& prompt, const LongBenchRow& row,
                                      const std::string& place) {
  LongBenchPrompt filled;
  std::string* into = &filled.context;
  bool has_context = false;
  for (size_t at = 0; at < prompt.size();) {
    const char c = prompt[at];
    if ((c == '{' || c == '}') && prompt.compare(at + 1, 1, std::string(1, c)) == 0) {
      *into += c;
      at += 2;
      continue;
    }
    const size_t close = c == '{' ? prompt.find('}', at) : std::string::npos;
    if (c == '}' || (c == '{' && close == std::string::npos)) {
      throw_usage("{}: prompt: a single '{}' at byte {}; a brace itself is written twice", place, c,
                  at);
    }
    if (c != '{') {
      *into += c;
      ++at;
      continue;
    }
    const std::string name = prompt.substr(at + 1, close - at - 1);
    const auto field = row.fields.find(name);
    if (field == row.fields.end()) {
      throw_usage("{}: prompt: {{{}}} is no text of these rows", place, name);
    }
    *into += field->second;
    at = close + 1;
    if (name == "context" && !has_context) {
      has_context = true;
      into = &filled.question;
    }
  }
  if (!has_context) throw_usage("{}: prompt: expected {{context}} in it", place);
  return filled;
}

}  // namespace kv
