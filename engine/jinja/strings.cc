#include "engine/jinja/strings.h"

#include <algorithm>

#include "engine/jinja/text.h"
#include "engine/jinja/value.h"
#include "engine/jinja/work.h"
#include "engine/tokenizer/unicode.h"

namespace kv::jinja {
namespace {

template <typename StartsWord>
std::string title(std::string_view text, StartsWord starts_word) {
  std::string out;
  bool at_start = true;
  for (const std::string& character : characters(text)) {
    out += at_start ? upper_case(character) : lower_case(character);
    at_start = starts_word(character);
  }
  return out;
}

}  // namespace

std::string replace_text(std::string_view text, std::string_view from, std::string_view to,
                         int64_t max_count) {
  TextBuilder out;
  if (from.empty()) {
    int64_t left = max_count < 0 ? length_of_text(text) + 1 : max_count;
    for (const std::string& character : characters(text)) {
      if (left-- > 0) out += to;
      out += character;
    }
    if (left > 0) out += to;
    return out.take();
  }
  size_t begin = 0;
  while (max_count != 0) {
    const size_t found = find_text(text, from, begin);
    if (found == std::string_view::npos) break;
    out += text.substr(begin, found - begin);
    out += to;
    begin = found + from.size();
    --max_count;
  }
  out += text.substr(begin);
  return out.take();
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return "";
  const auto first = static_cast<size_t>(utf8_step(text, 0).length);
  return upper_case(text.substr(0, first)) + lower_case(text.substr(first));
}

std::string title_words(std::string_view text) {
  return title(text, [](const std::string& c) {
    size_t at = 0;
    return std::string_view("-({[<").find(c) != std::string_view::npos ||
           is_python_space(next_code_point(c, at));
  });
}

std::string title_letters(std::string_view text) {
  return title(text, [](const std::string& c) { return lower_case(c) == upper_case(c); });
}

std::vector<std::string> split_space(std::string_view text, int64_t max_splits) {
  std::vector<std::string> parts;
  text = strip_left(text);
  while (!text.empty()) {
    if (max_splits >= 0 && static_cast<int64_t>(parts.size()) == max_splits) {
      parts.emplace_back(strip_right(text));
      break;
    }
    size_t end = 0;
    while (end < text.size()) {
      size_t next = end;
      if (is_python_space(next_code_point(text, next))) break;
      end = next;
    }
    parts.emplace_back(text.substr(0, end));
    text = strip_left(text.substr(end));
  }
  return parts;
}

std::vector<std::string> split_space_from_right(std::string_view text, int64_t max_splits) {
  std::vector<std::string> parts = split_space(text, -1);
  const auto n = static_cast<int64_t>(parts.size());
  if (max_splits < 0 || n <= max_splits) return parts;
  text = strip_right(text);
  for (int64_t i = 0; i < max_splits; ++i)
    text = strip_right(text.substr(0, text.size() - parts[static_cast<size_t>(n - 1 - i)].size()));
  parts.erase(parts.begin(), parts.end() - max_splits);
  parts.emplace(parts.begin(), text);
  return parts;
}

std::vector<std::string> split_at(std::string_view text, std::string_view separator,
                                  int64_t max_splits) {
  if (separator.empty()) fail("split: empty separator");
  std::vector<std::string> parts;
  size_t begin = 0;
  while (max_splits < 0 || static_cast<int64_t>(parts.size()) < max_splits) {
    const size_t found = find_text(text, separator, begin);
    if (found == std::string_view::npos) break;
    parts.emplace_back(text.substr(begin, found - begin));
    begin = found + separator.size();
  }
  parts.emplace_back(text.substr(begin));
  return parts;
}

std::vector<std::string> split_at_from_right(std::string_view text, std::string_view separator,
                                             int64_t max_splits) {
  if (separator.empty()) fail("rsplit: empty separator");
  std::vector<std::string> parts;
  size_t end = text.size();
  while (max_splits < 0 || static_cast<int64_t>(parts.size()) < max_splits) {
    if (end < separator.size()) break;
    const size_t found = rfind_text(text, separator, end - separator.size());
    if (found == std::string_view::npos) break;
    parts.emplace_back(text.substr(found + separator.size(), end - found - separator.size()));
    end = found;
  }
  parts.emplace_back(text.substr(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::string center_text(std::string_view text, int64_t width, std::string_view fill) {
  const int64_t missing = std::min<int64_t>(width, 100000) - length_of_text(text);
  // Python's own rule for the odd one.
  const int64_t left = missing <= 0 ? 0 : missing / 2 + (missing & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (int64_t i = left; i < missing; ++i) out += fill;
  return out;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  const auto is_break = [](uint32_t c) {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
  };
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = at;
    const uint32_t code = next_code_point(text, at);
    if (!is_break(code)) continue;
    if (code == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.emplace_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

}  // namespace kv::jinja
