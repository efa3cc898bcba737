#include "engine/tokenizer/json_file.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "engine/error.h"
#include "engine/json_file.h"
#include "engine/mapped_file.h"

namespace kv {

nlohmann::json read_json_file(const std::filesystem::path& file) {
  const std::string text = read_whole_file(file);
  check_json_depth(text, file.string());
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw_data("{}: not valid JSON: {}", file.string(), error.what());
  }
  if (!json.is_object())
    throw_data("{}: expected a JSON object, found {}", file.string(), json.type_name());
  return json;
}

JsonPlace::JsonPlace(const nlohmann::json& value, std::string file, std::string key)
    : value_(value), file_(std::move(file)), key_(std::move(key)) {}

std::string JsonPlace::where() const {
  return key_.empty() ? file_ : file_ + ": " + key_;
}

void JsonPlace::wrong_type(const char* expected) const {
  throw_data("{}: expected {}, found {}", where(), expected, describe_json(value_));
}

bool JsonPlace::has(const std::string& name) const {
  if (!value_.is_object()) wrong_type("an object");
  const auto member = value_.find(name);
  return member != value_.end() && !member->is_null();
}

JsonPlace JsonPlace::at(const std::string& name) const {
  if (!value_.is_object()) wrong_type("an object");
  const auto member = value_.find(name);
  if (member == value_.end()) throw_data("{}: the key '{}' is missing", where(), name);
  return {*member, file_, key_.empty() ? name : key_ + "." + name};
}

JsonPlace JsonPlace::at(size_t index) const {
  return {value_.at(index), file_, fmt::format("{}[{}]", key_, index)};
}

size_t JsonPlace::size() const {
  if (!value_.is_array()) wrong_type("a list");
  return value_.size();
}

std::string JsonPlace::text() const {
  if (!value_.is_string()) wrong_type("a string");
  return value_.get<std::string>();
}

std::string JsonPlace::string_at(const std::string& name) const {
  return at(name).text();
}

bool JsonPlace::bool_at(const std::string& name, std::optional<bool> fallback) const {
  if (fallback && !has(name)) return *fallback;
  const JsonPlace member = at(name);
  if (!member.value_.is_boolean()) member.wrong_type("true or false");
  return member.value_.get<bool>();
}

int64_t JsonPlace::integer_at(const std::string& name) const {
  const JsonPlace member = at(name);
  if (!member.value_.is_number_integer()) member.wrong_type("an integer");
  return member.value_.get<int64_t>();
}

}  // namespace kv
