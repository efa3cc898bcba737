#include "engine/jinja/text.h"

#include "engine/tokenizer/unicode.h"

namespace kv::jinja {
namespace {

template <typename Predicate>
std::string_view strip_if(std::string_view text, bool left, bool right, Predicate drop) {
  size_t at = 0;
  while (left && at < text.size()) {
    size_t next = at;
    if (!drop(next_code_point(text, next))) break;
    at = next;
  }
  text.remove_prefix(at);
  while (right && !text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
    size_t cursor = begin;
    if (!drop(next_code_point(text, cursor))) break;
    text = text.substr(0, begin);
  }
  return text;
}

bool contains(std::string_view characters, uint32_t code) {
  for (size_t at = 0; at < characters.size();) {
    if (next_code_point(characters, at) == code) return true;
  }
  return false;
}

}  // namespace

bool is_python_space(uint32_t code) {
  return is_white_space(code) || (code >= 0x1C && code <= 0x1F);
}

std::string_view strip_left(std::string_view text) {
  return strip_if(text, true, false, is_python_space);
}
std::string_view strip_right(std::string_view text) {
  return strip_if(text, false, true, is_python_space);
}

std::string_view strip_characters(std::string_view text, std::string_view characters, bool left,
                                  bool right) {
  return strip_if(text, left, right, [&](uint32_t code) { return contains(characters, code); });
}

}  // namespace kv::jinja
