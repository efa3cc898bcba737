#include "engine/jinja/text.h"

#include <string.h>

#include <algorithm>

#include "engine/jinja/work.h"
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

size_t find_text(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found == nullptr ? std::string_view::npos
                          : static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t rfind_text(std::string_view text, std::string_view part, size_t from) {
  constexpr size_t kShort = 64;
  if (part.size() <= kShort || part.size() > text.size()) return text.rfind(part, from);
  const size_t end = std::min(from, text.size() - part.size()) + part.size();
  spend(end / 8);
  const std::string reversed(text.rend() - static_cast<std::ptrdiff_t>(end), text.rend());
  const size_t found = find_text(reversed, std::string(part.rbegin(), part.rend()));
  return found == std::string::npos ? found : end - found - part.size();
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
