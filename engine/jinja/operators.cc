#include "engine/jinja/operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/jinja/builtins.h"
#include "engine/jinja/format.h"
#include "engine/jinja/work.h"

namespace kv::jinja {
namespace {

[[noreturn]] void refuse(const std::string& op, const Value& left, const Value& right) {
  if (left.is_undefined()) fail(left.undefined_reason());
  if (right.is_undefined()) fail(right.undefined_reason());
  fail(fmt::format("the operator '{}' does not take {} and {}", op, left.type_name(),
                   right.type_name()));
}

int64_t floor_divide(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Value power(int64_t base, int64_t exponent) {
  if (exponent < 0) return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  int64_t result = 1;
  for (int64_t i = 0; i < exponent && result != 0; ++i) {
    if (base == 1 || base == -1) return base == 1 || exponent % 2 == 0 ? int64_t{1} : int64_t{-1};
    if (__builtin_mul_overflow(result, base, &result))
      fail("the result of '**' does not fit into 64 bits");
  }
  return result;
}

Value integer_operator(const std::string& op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else if (op == "**") {
    return power(a, b);
  } else {
    if (b == 0) fail("division by zero");
    if (op == "/") return static_cast<double>(a) / static_cast<double>(b);
    if (b == -1) return op == "%" ? Value(int64_t{0}) : negative(Value(a));
    result = op == "//" ? floor_divide(a, b) : a - floor_divide(a, b) * b;
  }
  if (overflow) fail(fmt::format("the result of '{}' does not fit into 64 bits", op));
  return result;
}

Value float_operator(const std::string& op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "**") return std::pow(a, b);
  if (b == 0) fail("division by zero");
  if (op == "/") return a / b;
  if (op == "//") return std::floor(a / b);
  const double remainder = std::fmod(a, b);
  return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

Value repeat(const Value& value, int64_t count) {
  const size_t times = static_cast<size_t>(std::max<int64_t>(count, 0));
  if (value.is_string()) {
    TextBuilder text;
    text.repeat(value.string(), times);
    return text.take();
  }
  const size_t size = value.size();
  if (size != 0) check_list(times > kLongestList ? times : times * size);
  List items;
  for (size_t i = 0; i < times && size != 0; ++i) {
    items.insert(items.end(), value.items().begin(), value.items().end());
  }
  return value.is(Value::Type::kTuple) ? Value::tuple(std::move(items))
                                       : Value::list(std::move(items));
}

Value concatenate(const Value& left, const Value& right) {
  List items = left.items();
  items.insert(items.end(), right.items().begin(), right.items().end());
  return left.is(Value::Type::kTuple) ? Value::tuple(std::move(items))
                                      : Value::list(std::move(items));
}

}  // namespace

Value binary_operator(const std::string& op, const Value& left, const Value& right) {
  if (op == "~") return left.str() + right.str();
  if (left.is_integer() && right.is_integer())
    return integer_operator(op, left.integer(), right.integer());
  if (left.is_number() && right.is_number())
    return float_operator(op, left.number(), right.number());
  if (op == "+" && left.is_string() && right.is_string()) return left.string() + right.string();
  if (op == "+" && left.is_sequence() && left.type() == right.type())
    return concatenate(left, right);
  if (op == "*" && (left.is_string() || left.is_sequence()) && right.is_integer())
    return repeat(left, right.integer());
  if (op == "*" && (right.is_string() || right.is_sequence()) && left.is_integer())
    return repeat(right, left.integer());
  if (op == "%" && left.is_string()) return format_percent(left.string(), right);
  refuse(op, left, right);
}

bool compare_operator(const std::string& op, const Value& left, const Value& right) {
  if (op == "==") return equal(left, right);
  if (op == "!=") return !equal(left, right);
  if (op == "in") return contains(right, left);
  if (op == "not in") return !contains(right, left);
  const int order = compare(left, right);
  if (op == "<") return order < 0;
  if (op == ">") return order > 0;
  return op == "<=" ? order <= 0 : order >= 0;
}

Value negative(const Value& value) {
  if (value.is_integer()) return integer_operator("-", 0, value.integer());
  if (value.is_number()) return -value.number();
  if (value.is_undefined()) fail(value.undefined_reason());
  fail(fmt::format("the operator '-' does not take {}", value.type_name()));
}

Value slice(const Value& object, std::optional<int64_t> from, std::optional<int64_t> to,
            std::optional<int64_t> step) {
  if (object.is_undefined()) fail(object.undefined_reason());
  if (!object.is_string() && !object.is_sequence())
    fail(fmt::format("a {} cannot be sliced", object.type_name()));
  std::vector<size_t> places;  // of the characters of a text
  if (object.is_string()) places = character_places(object.string());
  const auto size = static_cast<int64_t>(object.is_string() ? places.size() : object.size());
  const int64_t stride = step.value_or(1);
  if (stride == 0) fail("slice: the step is 0");
  const int64_t lowest = stride > 0 ? 0 : -1;
  const int64_t highest = stride > 0 ? size : size - 1;
  const auto resolve = [&](std::optional<int64_t> index, int64_t fallback) {
    if (!index) return fallback;
    return std::clamp(*index < 0 ? *index + size : *index, lowest, highest);
  };
  const int64_t begin = resolve(from, stride > 0 ? lowest : highest);
  const int64_t end = resolve(to, stride > 0 ? highest : lowest);
  List items;
  std::string text;
  for (int64_t i = begin; stride > 0 ? i < end : i > end;) {
    const auto at = static_cast<size_t>(i);
    spend(1);
    if (object.is_string()) {
      const size_t behind = at + 1 < places.size() ? places[at + 1] : object.size();
      text.append(object.string(), places[at], behind - places[at]);
    } else {
      items.push_back(object.items()[at]);
    }
    if (__builtin_add_overflow(i, stride, &i)) break;
  }
  if (object.is_string()) return text;
  return object.is(Value::Type::kTuple) ? Value::tuple(std::move(items))
                                        : Value::list(std::move(items));
}

}  // namespace kv::jinja
