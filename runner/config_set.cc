// --set key.path=value
#include <algorithm>
#include <charconv>

#include "engine/error.h"
#include "runner/config.h"
#include "runner/value_io.h"

namespace kv {
namespace {

struct Step {
  std::string key;  // of a map; empty: index of a list
  size_t index = 0;
};

// "tasks[0].lengths" -> tasks, 0, lengths.
std::vector<Step> parse_path(const std::string& path, const std::string& place) {
  std::vector<Step> steps;
  size_t at = 0;
  while (at < path.size()) {
    if (path[at] == '[') {
      const size_t close = path.find(']', at);
      Step step;
      if (close != std::string::npos) {
        const auto [end, error] =
            std::from_chars(path.data() + at + 1, path.data() + close, step.index);
        if (error == std::errc() && end == path.data() + close && close > at + 1) {
          steps.push_back(step);
          at = close + 1;
          continue;
        }
      }
      throw_usage("{}: expected an index such as [0] in '{}'", place, path);
    }
    if (path[at] == '.') ++at;
    const size_t end = std::min(path.find_first_of(".[", at), path.size());
    if (end == at) throw_usage("{}: an empty key in '{}'", place, path);
    steps.push_back({path.substr(at, end - at), 0});
    at = end;
  }
  if (steps.empty()) throw_usage("{}: the key before '=' is empty", place);
  return steps;
}

void set_places(Value& value, const std::string& place) {
  value.place = place;
  for (Value& item : value.items) set_places(item, place);
  for (auto& [key, entry] : value.entries) set_places(entry, place);
}

Value& child(Value& value, const Step& step, const std::string& place) {
  if (step.key.empty()) {
    if (!value.is_list() || step.index >= value.items.size()) {
      throw_usage(
          "{}: index [{}] is outside of {}", place, step.index,
          value.is_list() ? fmt::format("a list of {}", value.items.size()) : value.describe());
    }
    return value.items[step.index];
  }
  if (value.is_null()) value.kind = Value::Kind::kMap;
  if (!value.is_map()) {
    throw_usage("{}: '{}' is a key, but stands in {}", place, step.key, value.describe());
  }
  for (auto& [key, entry] : value.entries) {
    if (key == step.key) return entry;
  }
  value.entries.emplace_back(step.key, Value{});
  value.entries.back().second.place = place;
  return value.entries.back().second;
}

}  // namespace

void apply_set(Value& config, const std::string& assignment) {
  const std::string place = "--set " + assignment;
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos) {
    throw_usage("--set: expected key.path=value, found '{}'", assignment);
  }
  Value value = parse_yaml(assignment.substr(equals + 1), place);
  set_places(value, place);
  Value* at = &config;
  for (const Step& step : parse_path(assignment.substr(0, equals), place))
    at = &child(*at, step, place);
  *at = std::move(value);
}

}  // namespace kv
