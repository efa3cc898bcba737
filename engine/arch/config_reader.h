// Typed, strict access to a config.json: every complaint names the file, the key, what was expected
// and found.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace kv {

// One JSON object. A key that is absent and one that is null are the same thing, but for written().
class ConfigReader {
 public:
  // place: "DIR/config.json", or "DIR/config.json: rope_parameters".
  ConfigReader(const nlohmann::json& object, std::string place);

  bool has(const char* key) const;      // there and not null
  bool written(const char* key) const;  // there, null or not

  // Throw Error(kData) where the key is absent (required_…) or of another type.
  int required_count(const char* key) const;  // a positive integer
  double required_number(const char* key) const;
  double required_positive(const char* key) const;  // finite and above 0
  std::string required_string(const char* key) const;
  int count_or(const char* key, int fallback) const;
  double number_or(const char* key, double fallback) const;
  bool bool_or(const char* key, bool fallback) const;
  std::string string_or(const char* key, const std::string& fallback) const;
  // An integer or a list of integers; empty where absent.
  std::vector<int> ids(const char* key) const;
  // A list of numbers, of strings; empty where absent.
  std::vector<double> numbers(const char* key) const;
  std::vector<std::string> strings(const char* key) const;
  // A nested object; nothing where absent or empty.
  std::optional<ConfigReader> object(const char* key) const;

  const std::string& place() const { return place_; }
  [[noreturn]] void fail(const char* key, const std::string& expected) const;
  // "…: KEY: WHAT is not supported": something that this program does not compute.
  [[noreturn]] void unsupported(const char* key, const std::string& what) const;

 private:
  const nlohmann::json* find(const char* key) const;
  const nlohmann::json& required(const char* key) const;

  const nlohmann::json* object_;  // outlives the reader
  std::string place_;
};

}  // namespace kv
