// GGUF files, versions 2 and 3: metadata, tensor list, alignment. Everything is checked against the
// file's size.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "engine/mapped_file.h"
#include "engine/stored_tensor.h"

namespace kv {

// One metadata value. Integers of every width become int64 (uint64 beyond its range is refused),
// floats double.
struct GgufValue {
  using Array = std::vector<GgufValue>;
  std::variant<int64_t, double, bool, std::string, Array> value;
  std::string describe() const;  // for messages: "the number 3", "the string 'x'", "an array"
};

class Gguf {
 public:
  // Throws Error(kData) naming file, place, what was expected and found.
  explicit Gguf(const std::filesystem::path& file);

  const std::string& place() const { return place_; }  // the file, for messages
  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  // In file order; StoredTensor::name is the file's name. Dimensions outermost first (the file has
  // them the other way).
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const StoredTensor* find_tensor(const std::string& name) const;  // null where absent

  bool has(const std::string& key) const { return metadata_.count(key) != 0; }
  // Throw Error(kData) where the key is absent (first form) or of another type.
  int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;  // an integer is taken too
  std::string string(const std::string& key) const;
  int64_t integer_or(const std::string& key, int64_t fallback) const;
  double number_or(const std::string& key, double fallback) const;
  bool boolean_or(const std::string& key, bool fallback) const;
  std::string string_or(const std::string& key, const std::string& fallback) const;
  std::vector<std::string> strings_or_empty(const std::string& key) const;
  std::vector<int64_t> integers_or_empty(const std::string& key) const;
  std::vector<double> numbers_or_empty(const std::string& key) const;  // of floats

 private:
  const GgufValue& required(const std::string& key) const;
  template <typename T>
  std::vector<T> list_or_empty(const std::string& key, const char* expected) const;

  std::string place_;
  MappedFile file_;
  std::map<std::string, GgufValue> metadata_;
  std::vector<StoredTensor> tensors_;
};

}  // namespace kv
