// A parsed value with the place it came from, and parameter tables.
//
// YAML configs, JSON requests and spec strings all become Values; one table of ParamSpecs for each
// method and task then drives checking, defaults, printing in canonical form, hashing and `kvengine
// list`. Like engine/error.h this header may be included from every folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kv {

struct Value {
  enum class Kind { kNull, kBool, kNumber, kString, kList, kMap };
  Kind kind = Kind::kNull;
  bool boolean = false;
  double number = 0;
  std::string text;                                    // kString
  std::vector<Value> items;                            // kList
  std::vector<std::pair<std::string, Value>> entries;  // kMap, in the order written, keys unique
  std::string place;  // for messages: "v1.yaml:14: compressors[2]", "request.json: [0]"

  Value();  // null; defined where the type is complete, which its own entries need
  static Value of(bool b);
  static Value of(double n);
  static Value of(std::string text);
  static Value of(const char* text) {
    return of(std::string(text));
  }  // else a literal would become a bool
  bool is_null() const { return kind == Kind::kNull; }
  bool is_map() const { return kind == Kind::kMap; }
  bool is_list() const { return kind == Kind::kList; }
  bool is_string() const { return kind == Kind::kString; }
  bool is_number() const { return kind == Kind::kNumber; }
  bool is_integer() const;                        // a number without fraction below 2^53
  const Value* find(std::string_view key) const;  // of a map; null where absent
  std::string describe() const;  // for messages: "the string 'abc'", "the number 1.5", "a list"
};

// Shortest decimal text that reads back as the same double: 0.5, 1e-06, 32. inf and nan for people.
std::string format_number(double value);

// The whole text as a finite number; empty where it is none ("0.5x", "inf", "", ".").
std::optional<double> parse_number(std::string_view text);

// In the grammar of specs (compress/spec.h): 0.5, true, word, 'other text', [1,2],
// (every=6,keep=48), snapkv(window=32). A map whose first key is `name` prints as a term, name(…).
// Null has no such form: Error(kUsage).
std::string format_value(const Value& value);

// "; did you mean 'budget'?" where a known word is close, else "".
std::string did_you_mean(std::string_view word, const std::vector<std::string>& known);

struct ParamSpec {
  enum class Type {
    kInteger,
    kNumber,
    kBool,
    kString,
    kChoice,
    kFile,
    kIntegerList,
    kNumberList,
    kAny
  };
  std::string name;
  Type type = Type::kNumber;
  std::string
      default_text;  // as it would be written; "" with required = true: must be given; "null": none
  std::string doc;   // one line, with the unit
  double min = -1e300, max = 1e300;  // numbers and list elements: min <= value <= max; whole
                                     // numbers without a max of their own must fit an int
  bool below_max = false;                 // value < max instead
  std::vector<std::string> choices = {};  // kChoice
  bool required = false;
};

// The parameters of one method or task: every key known, typed, in range, defaults filled in.
class Params {
 public:
  // map: kMap or kNull (no parameters). what: "snapkv", "task 'passkey'". Keys in `ignore` are left
  // to the caller. Throws Error(kUsage) with the place, the key, what was expected and what was
  // found.
  static Params read(const Value& map, const std::vector<ParamSpec>& table, const std::string& what,
                     const std::vector<std::string>& ignore = {});

  bool given(std::string_view name) const;  // written by the user
  bool is_null(std::string_view name) const;
  int integer(std::string_view name) const;
  double number(std::string_view name) const;
  bool boolean(std::string_view name) const;
  const std::string& string(std::string_view name) const;  // kString, kChoice, kFile
  std::vector<int> integers(std::string_view name) const;
  std::vector<double> numbers(std::string_view name) const;
  const Value& value(std::string_view name) const;

  // "ratio=0.5,window=32": every parameter in table order, numbers in their shortest form, null
  // ones and those of `leave_out` left out.
  std::string canonical(const std::vector<std::string>& leave_out = {}) const;

 private:
  const Value& at(std::string_view name) const;

  std::vector<std::pair<ParamSpec, Value>> values_;
  std::vector<std::string> given_;
};

}  // namespace kv
