// Values of the template language: Python's, as far as templates can see them.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace kv::jinja {

class Value;
using List = std::vector<Value>;

// In the order of insertion, as Python's. Lookup is linear: templates have small ones.
class Dict {
 public:
  std::vector<std::pair<Value, Value>> entries;
  const Value* find(const Value& key) const;  // null where absent
  const Value* find_name(std::string_view key) const;
  void set(Value key, Value value);
};

// The arguments of a call: f(1, b=2).
struct Arguments {
  List positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct Callable {
  std::string name;  // for messages
  std::function<Value(const Arguments&)> call;
};

// A name that stands for nothing. It prints as nothing; using it otherwise is an error that names
// it.
struct Undefined {
  std::string what;  // "'tools' is undefined"
};

class Value {
 public:
  enum class Type {
    kUndefined,
    kNone,
    kBool,
    kInteger,
    kFloat,
    kString,
    kList,
    kTuple,
    kDict,
    kNamespace,
    kCallable
  };

  Value() : data_(Undefined{}) {}
  template <std::same_as<bool> Bool>  // nothing else may turn into a bool, pointers least of all
  Value(Bool value) : data_(value) {}
  Value(int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(std::string value);
  Value(const char* value) : Value(std::string(value)) {}
  static Value none();
  static Value undefined(std::string what);
  static Value list(List items);
  static Value tuple(List items);
  static Value dict(Dict entries);
  static Value name_space(Dict entries);  // namespace(): the one kind that can be changed
  // bound: what `call` keeps, such as the list of a list's method.
  static Value callable(std::string name, std::function<Value(const Arguments&)> call,
                        const Value& bound = Value());
  static Value from_json(const nlohmann::ordered_json& json, int depth = 0);

  Type type() const { return static_cast<Type>(data_.index()); }
  bool is(Type t) const { return type() == t; }
  bool is_undefined() const { return is(Type::kUndefined); }
  bool is_none() const { return is(Type::kNone); }
  bool is_string() const { return is(Type::kString); }
  bool is_sequence() const { return is(Type::kList) || is(Type::kTuple); }
  bool is_dict() const { return is(Type::kDict); }
  bool is_integer() const {
    return is(Type::kInteger) || is(Type::kBool);
  }  // Python's bool is an int
  bool is_number() const { return is_integer() || is(Type::kFloat); }

  // Each is for values of its type only.
  int64_t integer() const;
  double number() const;
  const std::string& string() const { return *std::get<TextBox>(data_).text; }
  const List& items() const;    // of a list or tuple
  const Dict& entries() const;  // of a dict or namespace
  const std::shared_ptr<Dict>& namespace_entries() const;
  const Callable& function() const;
  const std::string& undefined_reason() const { return std::get<Undefined>(data_).what; }

  // Lists, dicts and what else holds values, one in another: 0 for a plain value.
  int depth() const;
  size_t size() const;  // bytes or items, 0 for a plain value

  bool truthy() const;
  std::string type_name() const;  // Python's: "str", "int", "list", …
  std::string str() const;        // as {{ value }} prints it
  std::string repr() const;       // as it prints inside a list

 private:
  struct None {};
  struct TextBox {
    std::shared_ptr<const std::string> text;
  };
  struct ListBox {
    std::shared_ptr<const List> items;
    int depth;
  };
  struct TupleBox : ListBox {};
  struct DictBox {
    std::shared_ptr<const Dict> entries;
    int depth;
  };
  struct NamespaceBox {
    std::shared_ptr<Dict> entries;
    int depth;  // when it was made
  };
  struct CallableBox {
    std::shared_ptr<const Callable> function;
    int depth;
  };
  // In the order of Type.
  std::variant<Undefined, None, bool, int64_t, double, TextBox, ListBox, TupleBox, DictBox,
               NamespaceBox, CallableBox>
      data_;
};

bool equal(const Value& a, const Value& b);
// -1, 0, 1; throws TemplateError where Python has no order between the two.
int compare(const Value& a, const Value& b);

// A mistake in a template or its use. The evaluator adds the template's name and line.
struct TemplateError {
  std::string message;
};
[[noreturn]] void fail(std::string message);

// json.dumps with these arguments.
struct JsonStyle {
  bool ensure_ascii = false;  // other characters as \uXXXX
  int indent = -1;            // below 0: on one line
  std::string between_items = ", ", behind_keys = ": ";
  bool sort_keys = false;
};
std::string to_json(const Value& value, const JsonStyle& style);

// What a for loop runs over: items, characters, keys. Throws TemplateError for a value that is not
// iterable.
List iterate(const Value& value);

// Text in code points, as Python counts.
int64_t length_of_text(std::string_view text);
std::vector<std::string> characters(std::string_view text);
std::vector<size_t> character_places(std::string_view text);  // where each begins

}  // namespace kv::jinja
