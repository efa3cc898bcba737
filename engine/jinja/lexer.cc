#include "engine/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "engine/error.h"
#include "engine/jinja/text.h"
#include "engine/tokenizer/unicode.h"

namespace kv::jinja {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// \r\n and \r become \n, and one newline at the very end is dropped, as Jinja does.
std::string unify_newlines(const std::string& source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(const std::string& source, const std::string& name)
      : source_(unify_newlines(source)), name_(name) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) read_text_and_tag();
    add(TokenType::kEnd, "");
    return std::move(tokens_);
  }

 private:
  char peek(size_t offset = 0) const {
    return at_ + offset < source_.size() ? source_[at_ + offset] : '\0';
  }
  bool looking_at(std::string_view text) const {
    return std::string_view(source_).substr(at_).starts_with(text);
  }
  void add(TokenType type, std::string text) { tokens_.push_back({type, std::move(text), line_}); }

  [[noreturn]] void error(const std::string& what) const {
    throw_data("{}:{}: {}", name_, line_, what);
  }

  void advance(size_t n) {
    line_ += static_cast<int>(std::count(source_.begin() + at_, source_.begin() + at_ + n, '\n'));
    at_ += n;
  }

  void skip_space() {
    while (at_ < source_.size()) {
      size_t next = at_;
      if (!is_python_space(next_code_point(source_, next))) return;
      advance(next - at_);
    }
  }

  // The text up to the next tag, without the white space that the tag takes away, then the tag.
  void read_text_and_tag() {
    size_t tag = at_;
    while (tag < source_.size() &&
           !(source_[tag] == '{' && tag + 1 < source_.size() &&
             std::string_view("{%#").find(source_[tag + 1]) != std::string_view::npos)) {
      ++tag;
    }
    std::string_view text = std::string_view(source_).substr(at_, tag - at_);
    if (tag == source_.size()) {
      if (!text.empty()) add(TokenType::kText, std::string(text));
      advance(text.size());
      return;
    }
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const size_t consumed = text.size();
    if (sign == '-') {
      text = strip_right(text);
    } else if (kind != '{' && sign != '+') {
      text = without_indentation(text);
    }
    if (!text.empty()) add(TokenType::kText, std::string(text));
    advance(consumed);
    const bool signed_tag = sign == '-' || (sign == '+' && kind != '{');
    if (kind == '#') {
      skip_comment();
    } else if (kind == '%' && !read_raw()) {
      add(TokenType::kBlockBegin, "");
      advance(signed_tag ? 3 : 2);
      read_code(TokenType::kBlockEnd);
    } else if (kind == '{') {
      add(TokenType::kPrintBegin, "");
      advance(signed_tag ? 3 : 2);
      read_code(TokenType::kPrintEnd);
    }
  }

  // lstrip_blocks: white space between the start of a line and a block is no text.
  std::string_view without_indentation(std::string_view text) const {
    const size_t newline = text.rfind('\n');
    const size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
    if (begin == 0 && !at_line_start_) return text;
    return strip_left(text.substr(begin)).empty() ? text.substr(0, begin) : text;
  }

  // Behind the end of a tag: "-" takes all white space, trim_blocks one newline behind blocks and
  // comments.
  void finish_tag(size_t length, bool minus, bool plus, bool trims_newline) {
    const size_t begin = at_;
    advance(length);
    if (minus) {
      skip_space();
    } else if (trims_newline && !plus && peek() == '\n') {
      advance(1);
    }
    at_line_start_ = at_ > begin && source_[at_ - 1] == '\n';
  }

  void skip_comment() {
    const size_t end = source_.find("#}", at_ + 2);
    if (end == std::string::npos) error("the comment {# has no end #}");
    const char sign = source_[end - 1];
    const bool has_sign = end > at_ + 2;
    advance(end - at_);
    finish_tag(2, has_sign && sign == '-', has_sign && sign == '+', true);
  }

  // {% raw %} … {% endraw %}: everything between is text. False where no raw block begins here.
  bool read_raw() {
    size_t at = at_;
    if (!match_tag(at, "raw")) return false;
    const bool minus = source_[at - 3] == '-';
    advance(at - at_);
    if (minus) skip_space();
    const size_t begin = at_;
    for (size_t end = source_.find("{%", begin); end != std::string::npos;
         end = source_.find("{%", end + 2)) {
      size_t behind = end;
      if (!match_tag(behind, "endraw")) continue;
      std::string_view text = std::string_view(source_).substr(begin, end - begin);
      if (source_[end + 2] == '-') {
        text = strip_right(text);
      } else if (source_[end + 2] != '+') {
        text = without_indentation(text);
      }
      if (!text.empty()) add(TokenType::kText, std::string(text));
      const char sign = source_[behind - 3];
      advance(behind - 2 - at_);
      finish_tag(2, sign == '-', sign == '+', true);
      return true;
    }
    error("the block {% raw %} has no end {% endraw %}");
  }

  // Whether a tag with this one word stands at `at`, which then moves behind it.
  bool match_tag(size_t& at, std::string_view word) const {
    const std::string_view all(source_);
    size_t cursor = at + 2;
    const auto skip = [&] {
      while (cursor < all.size() && is_python_space(static_cast<unsigned char>(all[cursor])))
        ++cursor;
    };
    if (cursor < all.size() && (all[cursor] == '-' || all[cursor] == '+')) ++cursor;
    skip();
    if (!all.substr(cursor).starts_with(word)) return false;
    cursor += word.size();
    skip();
    if (cursor < all.size() && (all[cursor] == '-' || all[cursor] == '+')) ++cursor;
    if (!all.substr(cursor).starts_with("%}")) return false;
    at = cursor + 2;
    return true;
  }

  // Everything inside of {{ }} or {% %}, and its end.
  void read_code(TokenType end) {
    const std::string_view close = end == TokenType::kPrintEnd ? "}}" : "%}";
    const bool block = end == TokenType::kBlockEnd;
    std::string open;  // brackets that are not closed yet: inside of them }} is no end
    while (true) {
      skip_space();
      if (at_ >= source_.size())
        error(block ? "the block {% has no end %}" : "the expression {{ has no end }}");
      if (open.empty()) {
        const bool minus =
            peek() == '-' && std::string_view(source_).substr(at_ + 1).starts_with(close);
        const bool plus =
            block && peek() == '+' && std::string_view(source_).substr(at_ + 1).starts_with(close);
        if (minus || plus || looking_at(close)) {
          add(end, "");
          finish_tag(minus || plus ? 3 : 2, minus, plus, block);
          return;
        }
      }
      read_token(open);
    }
  }

  void read_token(std::string& open) {
    const char c = peek();
    if (is_name_start(c)) {
      size_t end = at_;
      while (end < source_.size() && (is_name_start(source_[end]) || is_digit(source_[end]))) ++end;
      add(TokenType::kName, source_.substr(at_, end - at_));
      advance(end - at_);
    } else if (is_digit(c)) {
      read_number();
    } else if (c == '"' || c == '\'') {
      read_string(c);
    } else {
      read_operator(open);
    }
  }

  void read_number() {
    size_t end = at_;
    bool is_float = false;
    const auto digits = [&] {
      while (end < source_.size() && (is_digit(source_[end]) || source_[end] == '_')) ++end;
    };
    digits();
    if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
      is_float = true;
      ++end;
      digits();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-'))
        ++exponent;
      if (exponent < source_.size() && is_digit(source_[exponent])) {
        is_float = true;
        end = exponent;
        digits();
      }
    }
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    add(is_float ? TokenType::kFloat : TokenType::kInteger, text);
    advance(end - at_);
  }

  void read_string(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) error("a string has no closing quote");
    add(TokenType::kString, unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    advance(end + 1 - at_);
  }

  std::string unescape(std::string_view text) const {
    static constexpr std::string_view kLetters = "abfnrtv\\'\"";
    static constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\' || i + 1 == text.size()) {
        out += text[i];
        continue;
      }
      const char letter = text[++i];
      const size_t known = kLetters.find(letter);
      if (known != std::string_view::npos) {
        out += kMeanings[known];
      } else if (letter == 'x' || letter == 'u' || letter == 'U') {
        i += append_hex(text.substr(i + 1), letter == 'x' ? 2 : letter == 'u' ? 4 : 8, out);
      } else if (letter >= '0' && letter <= '7') {
        uint32_t code = 0;
        size_t n = 0;
        while (n < 3 && i + n < text.size() && text[i + n] >= '0' && text[i + n] <= '7') {
          code = code * 8 + static_cast<uint32_t>(text[i + n++] - '0');
        }
        append_utf8(code, out);
        i += n - 1;
      } else if (letter != '\n') {  // a backslash before the end of a line joins the lines
        out += '\\';
        out += letter;
      }
    }
    return out;
  }

  size_t append_hex(std::string_view digits, size_t count, std::string& out) const {
    uint32_t code = 0;
    for (size_t i = 0; i < count; ++i) {
      const size_t value =
          i < digits.size()
              ? std::string_view("0123456789abcdef")
                    .find(static_cast<char>(std::tolower(static_cast<unsigned char>(digits[i]))))
              : std::string_view::npos;
      if (value == std::string_view::npos)
        error("a string has an incomplete \\x, \\u or \\U escape");
      code = code * 16 + static_cast<uint32_t>(value);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
      error("a string escape is no Unicode character");
    append_utf8(code, out);
    return count;
  }

  void read_operator(std::string& open) {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "==", "!=", ">=", "<=", "**", "//", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const std::string_view candidate : kOperators) {
      if (!looking_at(candidate)) continue;
      const char c = candidate[0];
      if (c == '(' || c == '[' || c == '{') open += c;
      if (c == ')' || c == ']' || c == '}') {
        const char expected = c == ')' ? '(' : c == ']' ? '[' : '{';
        if (open.empty() || open.back() != expected) error(fmt::format("unexpected '{}'", c));
        open.pop_back();
      }
      add(TokenType::kOperator, std::string(candidate));
      advance(candidate.size());
      return;
    }
    size_t next = at_;
    next_code_point(source_, next);
    error(fmt::format("unexpected character '{}'", source_.substr(at_, next - at_)));
  }

  std::string source_;
  std::string name_;
  size_t at_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;  // where the text after the last tag begins
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(const std::string& source, const std::string& name) {
  const size_t invalid = find_invalid_utf8(source);
  if (invalid != std::string::npos)
    throw_data("{}: expected UTF-8, found another byte at offset {}", name, invalid);
  return Lexer(source, name).run();
}

}  // namespace kv::jinja
