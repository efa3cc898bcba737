// Typed access to a JSON file whose errors name the file and the key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace kv {

// Parses a file into an object. Throws Error(kData) where it is missing, is not JSON or is no
// object.
nlohmann::json read_json_file(const std::filesystem::path& file);

// One value inside a JSON file. Refers to it: the parsed file must stay alive.
class JsonPlace {
 public:
  // key: the path that messages print, "model.merges[3]".
  JsonPlace(const nlohmann::json& value, std::string file, std::string key);

  const nlohmann::json& value() const { return value_; }
  const std::string& key() const { return key_; }
  std::string where() const;                             // "tokenizer.json: model.merges[3]"
  bool has(const std::string& name) const;               // present and not null
  JsonPlace at(const std::string& name) const;           // a member; an error where it is missing
  JsonPlace at(size_t index) const;                      // an element; index < size()
  size_t size() const;                                   // of an array; an error where it is none
  std::string text() const;                              // this value, which must be a string
  std::string string_at(const std::string& name) const;  // a member that must be a string
  bool bool_at(const std::string& name,
               std::optional<bool> fallback) const;  // fallback: where missing or null
  int64_t integer_at(const std::string& name) const;

 private:
  [[noreturn]] void wrong_type(const char* expected) const;
  const nlohmann::json& value_;
  std::string file_, key_;
};

}  // namespace kv
