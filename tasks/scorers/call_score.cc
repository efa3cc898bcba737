#include "tasks/scorers/call_score.h"

#include "tasks/scorers/json_schema.h"

namespace kv {
namespace {

// One past the brace that closes the one at `begin`; npos where none does.
size_t end_of_object(std::string_view text, size_t begin) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = begin; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && --depth == 0) {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

bool has_name(const std::optional<PyJson>& call, const std::string& name) {
  const PyJson* found = call ? call->find("name") : nullptr;
  return found != nullptr && found->is_string() && found->text == name;
}

bool has_arguments(const std::optional<PyJson>& call, const PyJson& arguments) {
  const PyJson* found = call ? call->find("arguments") : nullptr;
  return call && python_equal(found != nullptr ? *found : PyJson{}, arguments);
}

double share(bool yes) {
  return yes ? 1.0 : 0.0;
}

}  // namespace

std::optional<PyJson> extract_first_object(std::string_view text) {
  for (size_t begin = text.find('{'); begin != text.npos; begin = text.find('{', begin + 1)) {
    const size_t end = end_of_object(text, begin);
    if (end == text.npos) continue;
    std::optional<PyJson> object = parse_python_json(text.substr(begin, end - begin));
    if (object) return object;
  }
  return std::nullopt;
}

std::optional<PyJson> extract_greedy_object(std::string_view text) {
  const size_t begin = text.find('{');
  const size_t last = text.rfind('}');
  if (begin == text.npos || last == text.npos || last < begin) return std::nullopt;
  return parse_python_json(text.substr(begin, last + 1 - begin));
}

Scores score_call(const GoldCall& gold, std::string_view answer) {
  const std::optional<PyJson> call = extract_first_object(answer);
  const PyJson* arguments = call ? call->find("arguments") : nullptr;
  const bool name = has_name(call, gold.name);
  const bool schema =
      call && schema_valid(gold.schema, arguments != nullptr ? *arguments : PyJson{});
  const bool exact = has_arguments(call, gold.arguments);
  return {{"json_valid", share(call.has_value())},
          {"name_match", share(name)},
          {"schema_valid", share(schema)},
          {"args_exact", share(exact)},
          {"name_substring", share(answer.find(gold.name) != answer.npos)},
          {"is_call", share(arguments != nullptr && call->find("name") != nullptr)},
          {"name_and_schema", share(name && schema)},
          {"name_and_args", share(name && exact)}};
}

Scores score_canary_call(const GoldCall& gold, std::string_view answer) {
  const std::optional<PyJson> call = extract_greedy_object(answer);
  return {{"json_valid", share(call.has_value())},
          {"func_correct", share(has_name(call, gold.name))},
          {"arg_match", share(has_arguments(call, gold.arguments))}};
}

std::vector<MetricInfo> call_metrics() {
  return {
      {"name_and_schema", true, "share of answers that call the right tool with valid arguments"},
      {"json_valid", true, "share of answers that hold a JSON object"},
      {"name_match", true, "share whose object names the right tool"},
      {"schema_valid", true, "share whose arguments fit the right tool's schema"},
      {"args_exact", true, "share whose arguments are the expected ones"},
      {"name_substring", true, "share of answers that hold the right tool's name anywhere"},
      {"is_call", true, "share whose object has a name and arguments"},
      {"name_and_args", true, "share that name the right tool and give the expected arguments"}};
}

std::vector<MetricInfo> canary_call_metrics() {
  return {{"func_correct", true, "share of answers that name the right tool"},
          {"json_valid", true, "share with valid JSON from the first brace to the last"},
          {"arg_match", true, "share with the expected arguments"}};
}

}  // namespace kv
