#include "tasks/scorers/number_share.h"

#include "tasks/unicode.h"

namespace kv {
namespace {

// The run of digits that begins at `begin`; empty where none does.
std::u32string digits_at(const std::u32string& text, size_t begin) {
  size_t end = begin;
  while (end < text.size() && is_digit(text[end])) ++end;
  return text.substr(begin, end - begin);
}

}  // namespace

double share_of_numbers(const std::string& text, const std::string& wanted) {
  const std::u32string points = code_points(text), number = code_points(wanted);
  int n_numbers = 0, n_right = 0;
  for (size_t at = 0; at < points.size();) {
    const std::u32string found = digits_at(points, at);
    at += found.size() + 1;
    if (found.empty()) continue;
    ++n_numbers;
    n_right += found == number ? 1 : 0;
  }
  return n_numbers == 0 ? 0 : static_cast<double>(n_right) / n_numbers;
}

std::optional<std::string> paragraph_number(const std::string& text) {
  const std::u32string points = code_points(text), word = U"Paragraph ";
  for (size_t at = points.find(word); at != std::u32string::npos; at = points.find(word, at + 1)) {
    const std::u32string found = digits_at(points, at + word.size());
    if (!found.empty()) return utf8_text(found);
  }
  return std::nullopt;
}

}  // namespace kv
