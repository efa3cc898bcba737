#include "engine/arch/config_reader.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/json_file.h"

namespace kv {
namespace {

using nlohmann::json;

bool is_int(const json& value) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() ||
          value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int>::max())) &&
         value.get<int64_t>() >= std::numeric_limits<int>::min() &&
         value.get<int64_t>() <= std::numeric_limits<int>::max();
}

}  // namespace

ConfigReader::ConfigReader(const json& object, std::string place)
    : object_(&object), place_(std::move(place)) {
  if (!object.is_object()) {
    throw_data("{}: expected an object, found {}", place_, describe_json(object));
  }
}

const json* ConfigReader::find(const char* key) const {
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

const json& ConfigReader::required(const char* key) const {
  const json* value = find(key);
  if (value == nullptr) throw_data("{}: the key '{}' is missing", place_, key);
  return *value;
}

void ConfigReader::fail(const char* key, const std::string& expected) const {
  const json* value = find(key);
  throw_data("{}: {}: expected {}, found {}", place_, key, expected,
             value == nullptr ? "nothing" : describe_json(*value));
}

void ConfigReader::unsupported(const char* key, const std::string& what) const {
  throw_data("{}: {}: {} is not supported", place_, key, what);
}

bool ConfigReader::has(const char* key) const {
  return find(key) != nullptr;
}

bool ConfigReader::written(const char* key) const {
  return object_->contains(key);
}

int ConfigReader::required_count(const char* key) const {
  const json& value = required(key);
  if (!is_int(value) || value.get<int>() < 1) fail(key, "a positive integer");
  return value.get<int>();
}

double ConfigReader::required_number(const char* key) const {
  const json& value = required(key);
  if (!value.is_number()) fail(key, "a number");
  return value.get<double>();
}

double ConfigReader::required_positive(const char* key) const {
  const double value = required_number(key);
  if (!(value > 0) || !std::isfinite(value)) fail(key, "a positive number");
  return value;
}

std::string ConfigReader::required_string(const char* key) const {
  const json& value = required(key);
  if (!value.is_string()) fail(key, "a string");
  return value.get<std::string>();
}

int ConfigReader::count_or(const char* key, int fallback) const {
  return has(key) ? required_count(key) : fallback;
}

double ConfigReader::number_or(const char* key, double fallback) const {
  return has(key) ? required_number(key) : fallback;
}

bool ConfigReader::bool_or(const char* key, bool fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) fail(key, "true or false");
  return value->get<bool>();
}

std::string ConfigReader::string_or(const char* key, const std::string& fallback) const {
  return has(key) ? required_string(key) : fallback;
}

std::vector<int> ConfigReader::ids(const char* key) const {
  const json* value = find(key);
  if (value == nullptr) return {};
  std::vector<int> result;
  const auto add = [&](const json& id) {
    if (!is_int(id) || id.get<int>() < 0) fail(key, "a token id or a list of token ids");
    result.push_back(id.get<int>());
  };
  if (value->is_array()) {
    for (const json& id : *value) add(id);
  } else {
    add(*value);
  }
  return result;
}

std::vector<double> ConfigReader::numbers(const char* key) const {
  const json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) fail(key, "a list of numbers");
  std::vector<double> result;
  for (const json& item : *value) {
    if (!item.is_number()) fail(key, "a list of numbers");
    result.push_back(item.get<double>());
  }
  return result;
}

std::vector<std::string> ConfigReader::strings(const char* key) const {
  const json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) fail(key, "a list of strings");
  std::vector<std::string> result;
  for (const json& item : *value) {
    if (!item.is_string()) fail(key, "a list of strings");
    result.push_back(item.get<std::string>());
  }
  return result;
}

std::optional<ConfigReader> ConfigReader::object(const char* key) const {
  const json* value = find(key);
  if (value == nullptr) return std::nullopt;
  ConfigReader reader(*value, place_ + ": " + key);
  if (value->empty()) return std::nullopt;
  return reader;
}

}  // namespace kv
