// Python's string operations that filters and methods share. All text is UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kv::jinja {

// max_count < 0: all. An empty `from` stands between all characters.
std::string replace_text(std::string_view text, std::string_view from, std::string_view to,
                         int64_t max_count);
std::string capitalize(std::string_view text);  // first letter upper case, the others lower case
std::string title_words(
    std::string_view text);  // Jinja's title filter: words begin after - ( { [ < and space
std::string title_letters(
    std::string_view text);  // str.title(): a word begins behind every non-letter
std::vector<std::string> split_space(std::string_view text, int64_t max_splits);
std::vector<std::string> split_space_from_right(std::string_view text, int64_t max_splits);
std::vector<std::string> split_at(std::string_view text, std::string_view separator,
                                  int64_t max_splits);
std::vector<std::string> split_at_from_right(std::string_view text, std::string_view separator,
                                             int64_t max_splits);
// In the middle of `width` code points; fill: one character.
std::string center_text(std::string_view text, int64_t width, std::string_view fill);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);

}  // namespace kv::jinja
