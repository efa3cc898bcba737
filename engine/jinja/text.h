// Python's white space.
#pragma once

#include <cstdint>
#include <string_view>

namespace kv::jinja {

bool is_python_space(uint32_t code_point);  // str.isspace()
// As text.find(part, from) and text.rfind(part, from), but not slow where they almost match at every place.
size_t find_text(std::string_view text, std::string_view part, size_t from = 0);
size_t rfind_text(std::string_view text, std::string_view part,
                  size_t from = std::string_view::npos);
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);
// Without any of these characters (in UTF-8) at the chosen ends.
std::string_view strip_characters(std::string_view text, std::string_view characters, bool left,
                                  bool right);

}  // namespace kv::jinja
