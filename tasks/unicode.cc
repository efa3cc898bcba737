#include "tasks/unicode.h"

#include <utf8proc.h>

namespace kv {

CodePoint code_point_at(std::string_view text, size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const int n_bytes = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (n_bytes <= 1 || at + static_cast<size_t>(n_bytes) > text.size()) return {lead, 1};
  char32_t point = n_bytes == 2 ? lead & 0x1f : n_bytes == 3 ? lead & 0x0f : lead & 0x07;
  for (size_t k = 1; k < static_cast<size_t>(n_bytes); ++k)
    point = point << 6 | (static_cast<unsigned char>(text[at + k]) & 0x3f);
  return {point, n_bytes};
}

std::u32string code_points(std::string_view text) {
  std::u32string points;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    points.push_back(point.value);
    at += static_cast<size_t>(point.n_bytes);
  }
  return points;
}

std::string utf8_text(std::u32string_view points) {
  std::string text;
  for (const char32_t point : points) {
    utf8proc_uint8_t bytes[4];
    const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(point), bytes);
    text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
  }
  return text;
}

bool is_space(char32_t point) {
  return (point >= 0x09 && point <= 0x0d) || (point >= 0x1c && point <= 0x20) || point == 0x85 ||
         point == 0xa0 || point == 0x1680 || (point >= 0x2000 && point <= 0x200a) ||
         point == 0x2028 || point == 0x2029 || point == 0x202f || point == 0x205f ||
         point == 0x3000;
}

bool is_word(char32_t point) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(point))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return true;
    default:
      return point == '_';
  }
}

bool is_digit(char32_t point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(point)) == UTF8PROC_CATEGORY_ND;
}

std::u32string lower(std::u32string_view points) {
  std::u32string result;
  for (const char32_t point : points) {
    if (point == 0x130) {  // the one letter whose lower case is two code points
      result += U"i\u0307";
    } else {
      result += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(point)));
    }
  }
  return result;
}

std::u32string collapse_spaces(std::u32string_view points) {
  std::u32string result;
  bool pending = false;
  for (const char32_t point : points) {
    if (is_space(point)) {
      pending = !result.empty();
    } else {
      if (pending) result += U' ';
      pending = false;
      result += point;
    }
  }
  return result;
}

}  // namespace kv
