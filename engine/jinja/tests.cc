// `value is test`.
#include <fmt/format.h>

#include <map>

#include "engine/jinja/builtins.h"
#include "engine/jinja/work.h"
#include "engine/tokenizer/unicode.h"

namespace kv::jinja {
namespace {

using Type = Value::Type;
using Test = bool (*)(const Value& input, const List& arguments);

const Value& argument(const List& arguments) {
  if (arguments.size() != 1)
    fail(fmt::format("the test needs one argument, found {}", arguments.size()));
  return arguments[0];
}

int64_t remainder(const Value& input, int64_t divisor) {
  if (!input.is_integer())
    fail(fmt::format("the test needs an integer, found {}", input.type_name()));
  if (divisor == 0) fail("division by zero");
  return input.integer() % divisor;
}

bool is_cased(const Value& input, std::string (*map)(std::string_view)) {
  const std::string text = input.str();
  return map(text) == text && lower_case(text) != upper_case(text);
}

bool is_defined(const Value& v, const List&) {
  return !v.is_undefined();
}
bool is_undefined(const Value& v, const List&) {
  return v.is_undefined();
}
bool is_iterable(const Value& v, const List&) {
  return v.is_undefined() || v.is_string() || v.is_sequence() || v.is_dict();
}
bool equals(const Value& v, const List& a) {
  return equal(v, argument(a));
}
bool differs(const Value& v, const List& a) {
  return !equal(v, argument(a));
}
bool less(const Value& v, const List& a) {
  return compare(v, argument(a)) < 0;
}
bool less_or_equal(const Value& v, const List& a) {
  return compare(v, argument(a)) <= 0;
}
bool greater(const Value& v, const List& a) {
  return compare(v, argument(a)) > 0;
}
bool greater_or_equal(const Value& v, const List& a) {
  return compare(v, argument(a)) >= 0;
}

const std::map<std::string, Test>& tests() {
  static const std::map<std::string, Test> table = {
      {"defined", is_defined},
      {"undefined", is_undefined},
      {"none", [](const Value& v, const List&) { return v.is_none(); }},
      {"true", [](const Value& v, const List&) { return v.is(Type::kBool) && v.truthy(); }},
      {"false", [](const Value& v, const List&) { return v.is(Type::kBool) && !v.truthy(); }},
      {"boolean", [](const Value& v, const List&) { return v.is(Type::kBool); }},
      {"integer", [](const Value& v, const List&) { return v.is(Type::kInteger); }},
      {"float", [](const Value& v, const List&) { return v.is(Type::kFloat); }},
      {"number", [](const Value& v, const List&) { return v.is_number(); }},
      {"string", [](const Value& v, const List&) { return v.is_string(); }},
      {"mapping", [](const Value& v, const List&) { return v.is_dict(); }},
      {"iterable", is_iterable},
      {"sequence", is_iterable},
      {"callable", [](const Value& v, const List&) { return v.is(Type::kCallable); }},
      {"odd", [](const Value& v, const List&) { return remainder(v, 2) != 0; }},
      {"even", [](const Value& v, const List&) { return remainder(v, 2) == 0; }},
      {"divisibleby",
       [](const Value& v, const List& a) {
         if (!argument(a).is_integer()) fail("divisibleby needs an integer");
         return remainder(v, argument(a).integer()) == 0;
       }},
      {"filter", [](const Value& v, const List&) { return has_filter(v.str()); }},
      {"lower", [](const Value& v, const List&) { return is_cased(v, lower_case); }},
      {"upper", [](const Value& v, const List&) { return is_cased(v, upper_case); }},
      {"in", [](const Value& v, const List& a) { return contains(argument(a), v); }},
      {"eq", equals},
      {"equalto", equals},
      {"==", equals},
      {"sameas", [](const Value& v,
                    const List& a) { return v.type() == argument(a).type() && equal(v, a[0]); }},
      {"ne", differs},
      {"!=", differs},
      {"lt", less},
      {"lessthan", less},
      {"<", less},
      {"le", less_or_equal},
      {"<=", less_or_equal},
      {"gt", greater},
      {"greaterthan", greater},
      {">", greater},
      {"ge", greater_or_equal},
      {">=", greater_or_equal},
  };
  return table;
}

}  // namespace

bool apply_test(const std::string& name, const Value& input, const Arguments& arguments) {
  const auto found = tests().find(name);
  if (found == tests().end()) fail(fmt::format("the test 'is {}' is not supported", name));
  if (!arguments.named.empty())
    fail(fmt::format("the test 'is {}' takes no arguments by name", name));
  spend(8 + input.size() / 16);
  return found->second(input, arguments.positional);
}

}  // namespace kv::jinja
