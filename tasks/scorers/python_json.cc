#include "tasks/scorers/python_json.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>

namespace kv {
namespace {

// Python stops at its recursion limit; a model's answer may hold thousands of brackets.
constexpr int kMaxDepth = 900;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

// Every read_ method returns false after noting the first problem.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  bool read_document(PyJson& value) {
    skip_spaces();
    if (!read_value(value, 0)) return false;
    skip_spaces();
    return at_ == text_.size() || fail("the end");
  }

  const std::string& problem() const { return problem_; }

 private:
  bool fail(const char* expected) {
    if (problem_.empty()) problem_ = fmt::format("expected {} at byte {}", expected, at_);
    return false;
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_spaces() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != text_.npos) ++at_;
  }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  bool read_value(PyJson& value, int depth) {
    if (depth > kMaxDepth) return fail("fewer nested brackets");
    const char c = peek();
    if (c == '{') return read_map(value, depth);
    if (c == '[') return read_list(value, depth);
    if (c == '"') {
      value.kind = PyJson::Kind::kString;
      return read_string(value.text);
    }
    return read_word(value) || read_number(value) || fail("a value");
  }

  bool read_word(PyJson& value) {
    if (take("null")) return true;
    const bool is_true = take("true");
    if (is_true || take("false")) {
      value.kind = PyJson::Kind::kBool;
      value.boolean = is_true;
      return true;
    }
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    if (take("NaN")) {
      value.number = std::numeric_limits<double>::quiet_NaN();
    } else if (take("Infinity")) {
      value.number = kInfinity;
    } else if (take("-Infinity")) {
      value.number = -kInfinity;
    } else {
      return false;
    }
    value.kind = PyJson::Kind::kFloat;
    return true;
  }

  size_t digits_from(size_t at) const {
    while (at < text_.size() && is_digit(text_[at])) ++at;
    return at;
  }

  // As Python's scanner: a fraction or exponent that is not complete is not part of the number.
  bool read_number(PyJson& value) {
    const size_t digit = at_ + (peek() == '-' ? 1 : 0);
    if (digit >= text_.size() || !is_digit(text_[digit])) return false;
    size_t end = text_[digit] == '0' ? digit + 1 : digits_from(digit);
    bool whole = true;
    if (end < text_.size() && text_[end] == '.') {
      const size_t stop = digits_from(end + 1);
      if (stop > end + 1) {
        whole = false;
        end = stop;
      }
    }
    if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      const size_t sign = end + 1;
      const bool is_signed = sign < text_.size() && (text_[sign] == '+' || text_[sign] == '-');
      const size_t begin = sign + (is_signed ? 1 : 0);
      const size_t stop = digits_from(begin);
      if (stop > begin) {
        whole = false;
        end = stop;
      }
    }
    std::string digits(text_.substr(at_, end - at_));
    value.kind = whole ? PyJson::Kind::kInteger : PyJson::Kind::kFloat;
    value.number = std::strtod(digits.c_str(), nullptr);
    if (whole) value.text = digits == "-0" ? "0" : std::move(digits);
    at_ = end;
    return true;
  }

  bool read_hex(uint32_t& code) {
    code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      if (!is_digit(c) && !letter) return fail("four hexadecimal digits");
      code = code * 16 + static_cast<uint32_t>(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return true;
  }

  // After "\u". Two escaped surrogates make one character; a lone one stays.
  bool read_unicode_escape(std::string& out) {
    uint32_t code = 0;
    if (!read_hex(code)) return false;
    const size_t after = at_;
    if (code >= 0xd800 && code < 0xdc00 && take("\\u")) {
      uint32_t low = 0;
      if (!read_hex(low)) return false;
      if (low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      } else {
        at_ = after;
      }
    }
    append_utf8(out, code);
    return true;
  }

  bool read_string(std::string& out) {
    ++at_;  // the quote
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (static_cast<unsigned char>(c) < 0x20) return fail("no raw control character");
      ++at_;
      if (c == '"') return true;
      if (c != '\\') {
        out += c;
        continue;
      }
      static constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
      const char name = peek();
      const size_t index = name == '\0' ? kNames.npos : kNames.find(name);
      if (name == 'u') {
        ++at_;
        if (!read_unicode_escape(out)) return false;
      } else if (index == kNames.npos) {
        return fail("an escape of JSON");
      } else {
        out += kMeanings[index];
        ++at_;
      }
    }
    return fail("the closing quote");
  }

  bool read_list(PyJson& value, int depth) {
    value.kind = PyJson::Kind::kList;
    ++at_;
    skip_spaces();
    if (take("]")) return true;
    while (true) {
      value.items.emplace_back();
      if (!read_value(value.items.back(), depth + 1)) return false;
      skip_spaces();
      if (take("]")) return true;
      if (!take(",")) return fail("',' or ']'");
      skip_spaces();
    }
  }

  bool read_map(PyJson& value, int depth) {
    value.kind = PyJson::Kind::kMap;
    std::map<std::string, size_t> index_of;
    ++at_;
    skip_spaces();
    if (take("}")) return true;
    while (true) {
      if (peek() != '"') return fail("a key in quotes");
      std::string key;
      if (!read_string(key)) return false;
      skip_spaces();
      if (!take(":")) return fail("':'");
      skip_spaces();
      PyJson entry;
      if (!read_value(entry, depth + 1)) return false;
      const auto [known, is_new] = index_of.try_emplace(key, value.entries.size());
      if (is_new) {
        value.entries.emplace_back(std::move(key), std::move(entry));
      } else {
        value.entries[known->second].second = std::move(entry);
      }
      skip_spaces();
      if (take("}")) return true;
      if (!take(",")) return fail("',' or '}'");
      skip_spaces();
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string problem_;
};

// Whether booleans count as the numbers 0 and 1, and whether a NaN is the same object as the other.
struct Rules {
  bool booleans_are_numbers;
  bool same_nan;
};

bool numbers_equal(const PyJson& a, const PyJson& b, const Rules& rules) {
  if (a.kind == b.kind && a.kind == PyJson::Kind::kInteger) return a.text == b.text;
  if (a.kind == b.kind) {
    return a.number == b.number || (rules.same_nan && std::isnan(a.number) && std::isnan(b.number));
  }
  const PyJson& whole = a.kind == PyJson::Kind::kInteger ? a : b;
  const PyJson& real = a.kind == PyJson::Kind::kInteger ? b : a;
  if (!std::isfinite(real.number) || real.number != std::trunc(real.number)) return false;
  const std::string digits = fmt::format("{:.0f}", real.number);  // exact, however large
  return whole.text == (digits == "-0" ? "0" : digits);
}

PyJson as_number(const PyJson& value) {
  if (value.kind != PyJson::Kind::kBool) return value;
  PyJson number;
  number.kind = PyJson::Kind::kInteger;
  number.number = value.boolean ? 1 : 0;
  number.text.assign(1, value.boolean ? '1' : '0');
  return number;
}

bool equal(const PyJson& a, const PyJson& b, Rules rules) {
  using Kind = PyJson::Kind;
  const auto counts = [&rules](const PyJson& value) {
    return value.is_number() || (rules.booleans_are_numbers && value.kind == Kind::kBool);
  };
  if (counts(a) && counts(b)) return numbers_equal(as_number(a), as_number(b), rules);
  if (a.kind != b.kind) return false;
  rules.same_nan = true;
  switch (a.kind) {
    case Kind::kBool:
      return a.boolean == b.boolean;
    case Kind::kString:
      return a.text == b.text;
    case Kind::kList:
      if (a.items.size() != b.items.size()) return false;
      for (size_t i = 0; i < a.items.size(); ++i) {
        if (!equal(a.items[i], b.items[i], rules)) return false;
      }
      return true;
    case Kind::kMap:
      if (a.entries.size() != b.entries.size()) return false;
      for (const auto& [key, value] : a.entries) {
        const PyJson* other = b.find(key);
        if (other == nullptr || !equal(value, *other, rules)) return false;
      }
      return true;
    default:
      return true;  // null
  }
}

}  // namespace

PyJson::PyJson() = default;

bool PyJson::is_whole() const {
  return kind == Kind::kInteger ||
         (kind == Kind::kFloat && std::isfinite(number) && number == std::trunc(number));
}

const PyJson* PyJson::find(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name == key) return &value;
  }
  return nullptr;
}

const char* PyJson::type_name() const {
  static constexpr const char* kNames[] = {"null",     "a boolean", "an integer", "a number",
                                           "a string", "a list",    "a map"};
  return kNames[static_cast<size_t>(kind)];
}

std::optional<PyJson> parse_python_json(std::string_view text, std::string* problem) {
  Parser parser(text);
  PyJson value;
  if (parser.read_document(value)) return value;
  if (problem != nullptr) *problem = parser.problem();
  return std::nullopt;
}

bool python_equal(const PyJson& a, const PyJson& b) {
  return equal(a, b, {true, false});
}

bool schema_equal(const PyJson& a, const PyJson& b) {
  return equal(a, b, {false, true});
}

}  // namespace kv
