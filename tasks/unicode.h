// Characters as Python's str sees them, for scorers that must agree with published Python ones.
#pragma once

#include <string>
#include <string_view>

namespace kv {

struct CodePoint {
  char32_t value = 0;
  int n_bytes = 1;
};

// The code point that begins at byte `at` of a UTF-8 text; a byte that begins none stands for itself.
CodePoint code_point_at(std::string_view text, size_t at);

std::u32string code_points(std::string_view text);
std::string utf8_text(std::u32string_view points);

bool is_space(char32_t point);  // str.isspace(): Unicode's White_Space and U+001C … U+001F
bool is_word(char32_t point);   // \w of re: letters, numbers and _
bool is_digit(char32_t point);  // \d of re: decimal digits of every script

// str.lower(), but that a final sigma is not told from others.
std::u32string lower(std::u32string_view points);

// " ".join(text.split())
std::u32string collapse_spaces(std::u32string_view points);

}  // namespace kv
