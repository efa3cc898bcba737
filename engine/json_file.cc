#include "engine/json_file.h"

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "engine/error.h"
#include "engine/mapped_file.h"

namespace kv {

nlohmann::json parse_json(std::string_view text, const std::string& place) {
  using nlohmann::json;
  check_json_depth(text, place);
  std::vector<std::set<std::string>>
      open_objects;  // keys seen so far in each object around the current place
  std::string duplicate;
  const auto watch = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == json::parse_event_t::object_end) open_objects.pop_back();
    if (event == json::parse_event_t::key) {
      const std::string& key = parsed.get_ref<const std::string&>();
      if (!open_objects.back().insert(key).second && duplicate.empty()) duplicate = key;
    }
    return true;
  };
  json result;
  try {
    result = json::parse(text.begin(), text.end(), watch);
  } catch (const json::parse_error& error) {
    throw_data("{}: not valid JSON at byte {}: {}", place, error.byte, error.what());
  } catch (const json::out_of_range& error) {  // a number like 1e400
    throw_data("{}: not valid JSON: {}", place, error.what());
  }
  if (!duplicate.empty()) throw_data("{}: the key '{}' occurs twice", place, duplicate);
  return result;
}

void check_json_depth(std::string_view text, const std::string& place) {
  constexpr int kDeepest = 200;
  int depth = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '"') {
      for (++at; at < text.size() && text[at] != '"'; ++at) at += text[at] == '\\';
    } else if (text[at] == ']' || text[at] == '}') {
      --depth;
    } else if ((text[at] == '[' || text[at] == '{') && ++depth > kDeepest) {
      throw_data("{}: nested deeper than {} levels at byte {}", place, kDeepest, at);
    }
  }
}

nlohmann::json parse_json_file(const std::filesystem::path& path) {
  return parse_json(read_whole_file(path), path.string());
}

std::string describe_json(const nlohmann::json& value) {
  if (value.is_null()) return "null";
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  const std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (value.is_string()) return "the string " + text;
  if (value.is_boolean()) return text;
  return "the number " + text;
}

}  // namespace kv
