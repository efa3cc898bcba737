// JSON as Python's json.loads reads it, and Python's == on the results.
//
// Differs from RFC 8259 as Python does: NaN, Infinity and -Infinity are numbers, of a repeated key
// the last value counts, integers have any size. Raw control characters in strings are errors.
// 100 == 100.0 and true == 1; the order of keys is irrelevant. A NaN equals itself inside of a list
// or map (Python compares the one NaN object that its parser returns with itself), but not alone.
//
// Scores that were defined in Python need exactly this; nlohmann's reader refuses NaN.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kv {

struct PyJson {
  enum class Kind { kNull, kBool, kInteger, kFloat, kString, kList, kMap };
  Kind kind = Kind::kNull;
  bool boolean = false;
  double number = 0;  // kInteger (nearest double), kFloat
  std::string text;   // kString: UTF-8, lone surrogates as three bytes; kInteger: its digits
  std::vector<PyJson> items;                            // kList
  std::vector<std::pair<std::string, PyJson>> entries;  // kMap, keys unique

  PyJson();  // null; defined where the type is complete, which its own entries need
  bool is_map() const { return kind == Kind::kMap; }
  bool is_list() const { return kind == Kind::kList; }
  bool is_string() const { return kind == Kind::kString; }
  bool is_number() const { return kind == Kind::kInteger || kind == Kind::kFloat; }  // no booleans
  bool is_whole() const;                           // a number without fraction: 30 and 30.0
  const PyJson* find(std::string_view key) const;  // of a map; null where absent
  const char* type_name() const;                   // "a string", "a map", for messages
};

// The whole text as one value. Empty where it is none; *problem then says what and where.
std::optional<PyJson> parse_python_json(std::string_view text, std::string* problem = nullptr);

bool python_equal(const PyJson& a, const PyJson& b);

// As Python's jsonschema compares for enum and const: true is not 1 and false is not 0, at any
// depth, and a NaN equals itself also alone.
bool schema_equal(const PyJson& a, const PyJson& b);

}  // namespace kv
