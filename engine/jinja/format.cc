#include "engine/jinja/format.h"

#include "engine/jinja/work.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace kv::jinja {
namespace {

constexpr int64_t kWidest = 100000;  // of a field; a wider one is a mistake

// How one value is written: what both notations can say.
struct Field {
  std::string fill = " ";
  char align = 0;  // < > ^, 0: numbers to the right, text to the left
  char sign = '-';
  bool prefix = false;  // 0x, 0o, 0b
  bool zeros = false;   // fill up behind the sign
  int64_t width = 0, precision = -1;
  char type = 0;  // 0: as str()
};

// A pattern with a reading position.
struct Reader {
  const std::string& text;
  size_t at = 0;

  bool done() const { return at >= text.size(); }
  char peek() const { return done() ? '\0' : text[at]; }
  bool accept(char c) {
    if (done() || text[at] != c) return false;
    ++at;
    return true;
  }
  int64_t number(int64_t fallback) {
    int64_t value = 0;
    const auto parsed = std::from_chars(text.data() + at, text.data() + text.size(), value);
    if (parsed.ptr == text.data() + at) return fallback;
    if (parsed.ec != std::errc() || value < 0 || value > kWidest)
      fail(fmt::format("format: a width or precision beyond {}", kWidest));
    at = static_cast<size_t>(parsed.ptr - text.data());
    return value;
  }
  // Up to `end`, which is passed over.
  std::string until(char end) {
    const size_t found = text.find(end, at);
    if (found == std::string::npos)
      fail(fmt::format("format: '{}' without its '{}'", text.substr(at), end));
    std::string part = text.substr(at, found - at);
    at = found + 1;
    return part;
  }
};

std::string padded(const std::string& text, const Field& field, char fallback) {
  const int64_t missing = field.width - length_of_text(text);
  if (missing <= 0) return text;
  const char align = field.align == 0 ? fallback : field.align;
  const int64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += field.fill;
  out += text;
  for (int64_t i = left; i < missing; ++i) out += field.fill;
  return out;
}

// sign: "-" or what the field asks for; digits follow it.
std::string padded_number(const std::string& sign, const std::string& digits, const Field& field) {
  std::string zeros;
  const int64_t missing = field.width - static_cast<int64_t>(sign.size() + digits.size());
  if (field.zeros && field.align == 0 && missing > 0)
    zeros.assign(static_cast<size_t>(missing), '0');
  return padded(sign + zeros + digits, field, '>');
}

std::string sign_of(bool negative, const Field& field) {
  if (negative) return "-";
  return field.sign == '-' ? "" : std::string(1, field.sign);
}

std::string integer_text(int64_t value, const Field& field) {
  if (field.precision >= 0) fail("format: a precision for an integer is not supported");
  const uint64_t magnitude =
      value < 0 ? ~static_cast<uint64_t>(value) + 1 : static_cast<uint64_t>(value);
  std::string sign = sign_of(value < 0, field);
  const auto in_base = [&](const char* pattern, const char* prefix) {
    if (field.prefix) sign += prefix;
    return fmt::format(fmt::runtime(pattern), magnitude);
  };
  switch (field.type) {
    case 'x':
      return padded_number(sign, in_base("{:x}", "0x"), field);
    case 'X':
      return padded_number(sign, in_base("{:X}", "0X"), field);
    case 'o':
      return padded_number(sign, in_base("{:o}", "0o"), field);
    case 'b':
      return padded_number(sign, in_base("{:b}", "0b"), field);
    default:
      return padded_number(sign, fmt::format("{}", magnitude), field);
  }
}

std::string float_text(double value, const Field& field) {
  const int precision = field.precision < 0 ? 6 : static_cast<int>(field.precision);
  spend(8 * static_cast<size_t>(precision));
  if (field.prefix) fail("format: '#' for a float is not supported");
  const bool percent = field.type == '%';
  const double magnitude = std::fabs(percent ? value * 100 : value);
  const std::string pattern = fmt::format("{{:.{{}}{}}}", percent ? 'f' : field.type);
  std::string digits = fmt::format(fmt::runtime(pattern), magnitude, precision);
  if (percent) digits += '%';
  return padded_number(sign_of(std::signbit(value), field), digits, field);
}

std::string plain_text(const std::string& text, const Field& field, char fallback) {
  if (field.precision < 0) return padded(text, field, fallback);
  std::string cut;
  const std::vector<std::string> all = characters(text);
  for (size_t i = 0; i < std::min(all.size(), static_cast<size_t>(field.precision)); ++i)
    cut += all[i];
  return padded(cut, field, fallback);
}

bool is_one_of(char type, std::string_view types) {
  return types.find(type) != std::string_view::npos;
}

[[noreturn]] void refuse(const Value& value, const Field& field) {
  fail(fmt::format("format: '{}' does not take {}", field.type, value.type_name()));
}

std::string written_number(const Value& value, const Field& field) {
  if (!value.is_number()) refuse(value, field);
  if (is_one_of(field.type, "eEfFgG%")) return float_text(value.number(), field);
  if (value.is_integer()) return integer_text(value.integer(), field);
  refuse(value, field);
}

// ---- % ----

Field percent_field(Reader& pattern) {
  Field field;
  for (bool flags = true; flags;) {
    switch (pattern.peek()) {
      case '-':
        field.align = '<';
        break;
      case '+':
      case ' ':
        if (field.sign != '+') field.sign = pattern.peek();
        break;
      case '0':
        field.zeros = true;
        break;
      case '#':
        field.prefix = true;
        break;
      default:
        flags = false;
        continue;
    }
    ++pattern.at;
  }
  field.width = pattern.number(0);
  if (pattern.accept('.')) field.precision = pattern.number(0);
  if (pattern.done()) fail("format: the pattern ends behind a '%'");
  field.type = pattern.text[pattern.at++];
  return field;
}

std::string percent_value(const Value& value, Field field) {
  if (field.type == 's' || field.type == 'r')
    return plain_text(field.type == 's' ? value.str() : value.repr(), field, '>');
  if (is_one_of(field.type, "diu")) {
    if (!value.is_number()) refuse(value, field);
    if (!value.is_integer() && !(std::fabs(value.number()) < 9e18)) refuse(value, field);
    return integer_text(value.is_integer() ? value.integer() : static_cast<int64_t>(value.number()),
                        field);
  }
  if (!is_one_of(field.type, "xXoeEfFgG"))
    fail(fmt::format("format: '%{}' is not supported", field.type));
  return written_number(value, field);
}

// Hands out the values in turn, or by name.
class PercentValues {
 public:
  explicit PercentValues(const Value& values) : values_(values) {}

  const Value& next() {
    if (!values_.is(Value::Type::kTuple)) {
      if (used_++ > 0) fail("format: not enough values for the pattern");
      return values_;
    }
    if (used_ >= values_.items().size()) fail("format: not enough values for the pattern");
    return values_.items()[used_++];
  }

  const Value& named(const std::string& name) {
    if (!values_.is_dict()) fail("format: %(name) needs a dict");
    const Value* found = values_.entries().find_name(name);
    if (found == nullptr) fail(fmt::format("format: the dict has no '{}'", name));
    return *found;
  }

  void done() const {
    const bool tuple = values_.is(Value::Type::kTuple);
    if (tuple ? used_ < values_.items().size()
              : used_ == 0 && !values_.is_dict() && !values_.is(Value::Type::kList))
      fail("format: not all values were used by the pattern");
  }

 private:
  const Value& values_;
  size_t used_ = 0;
};

// ---- {} ----

Field brace_field(const std::string& text) {
  Field field;
  Reader spec{text};
  const std::vector<std::string> all = characters(text);
  const auto is_align = [](const std::string& c) { return c == "<" || c == ">" || c == "^"; };
  if (all.size() > 1 && is_align(all[1])) {
    field.fill = all[0];
    field.align = all[1][0];
    spec.at = all[0].size() + 1;
  } else if (!all.empty() && is_align(all[0])) {
    field.align = all[0][0];
    spec.at = 1;
  }
  const bool fill_given = spec.at > 1;
  if (is_one_of(spec.peek(), "+- ") && !spec.done()) field.sign = text[spec.at++];
  field.prefix = spec.accept('#');
  field.zeros = spec.accept('0');
  if (field.zeros && field.align != 0 && !fill_given) field.fill.assign(1, '0');
  field.width = spec.number(0);
  if (spec.accept('.')) field.precision = spec.number(0);
  if (!spec.done()) field.type = text[spec.at++];
  if (!spec.done() || (field.type != 0 && !is_one_of(field.type, "sdxXobeEfFgG%")))
    fail(fmt::format("format: '{{:{}}}' is not supported", text));
  return field;
}

std::string brace_value(const Value& value, const std::string& spec) {
  const Field field = brace_field(spec);
  if (spec.empty()) return value.str();
  if (value.is_string()) {
    if (field.type != 0 && field.type != 's') refuse(value, field);
    if (field.sign != '-' || field.prefix) fail("format: a sign or prefix for text");
    Field text = field;
    if (field.zeros && field.align == 0) text.fill.assign(1, '0');
    return plain_text(value.string(), text, '<');
  }
  if (!value.is_number() || field.type == 's') refuse(value, field);
  if (field.type == 0 && !value.is_integer())
    fail(
        fmt::format("format: '{{:{}}}' of a float is not supported: name a type, as in .2f", spec));
  return written_number(value, field);
}

}  // namespace

std::string format_percent(const std::string& text, const Value& values) {
  Reader pattern{text};
  PercentValues arguments(values);
  TextBuilder out;
  while (!pattern.done()) {
    if (!pattern.accept('%')) {
      out += text[pattern.at++];
    } else if (pattern.accept('%')) {
      out += '%';
    } else if (pattern.accept('(')) {
      const Value& value = arguments.named(pattern.until(')'));
      out += percent_value(value, percent_field(pattern));
    } else {
      const Field field = percent_field(pattern);
      out += percent_value(arguments.next(), field);
    }
  }
  arguments.done();
  return out.take();
}

std::string format_braces(const std::string& text, const List& values, const Dict& names) {
  Reader pattern{text};
  TextBuilder out;
  size_t next = 0;
  const auto find = [&](const std::string& name) -> const Value& {
    size_t index = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), index);
    if (name.empty() || (parsed.ec == std::errc() && parsed.ptr == name.data() + name.size())) {
      if (name.empty()) index = next++;
      if (index >= values.size())
        fail(fmt::format("format: field {} of {} values", index, values.size()));
      return values[index];
    }
    if (const Value* value = names.find_name(name)) return *value;
    fail(fmt::format("format: no value for the field '{{{}}}'", name));
  };
  while (!pattern.done()) {
    const char c = text[pattern.at++];
    if (c != '{' && c != '}') {
      out += c;
    } else if (pattern.accept(c)) {
      out += c;
    } else if (c == '}') {
      fail("format: a '}' without its '{'");
    } else {
      const std::string field = pattern.until('}');
      const size_t colon = std::min(field.find(':'), field.size());
      out += brace_value(find(field.substr(0, colon)),
                         colon < field.size() ? field.substr(colon + 1) : "");
    }
  }
  return out.take();
}

}  // namespace kv::jinja
