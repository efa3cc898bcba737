// The files that tasks read: text, JSON lines with a text field, lists of token ids, and the prose
// that ships.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

// All bytes of a file. Throws Error(kData) where it cannot be read or is empty.
std::string read_text_file(const std::filesystem::path& path);

// A file, or the .txt files of a folder in the order of their names (bytes), with nothing between
// them.
std::string read_text_file_or_folder(const std::filesystem::path& path);

// The "text" field of every line that is not blank; other fields are the user's business. Throws
// Error(kData) with the line.
std::vector<std::string> read_jsonl_texts(const std::filesystem::path& path);

// [[1, 2, 3], [4, 5], ...]. Throws Error(kData) with the place of what is no token id.
std::vector<std::vector<int32_t>> read_token_lists(const std::filesystem::path& path);

// base_folder / data where data is relative. Throws Error(kData), which starts with `place`, where
// nothing is there.
std::filesystem::path find_data(const std::string& data, const std::string& base_folder,
                                const std::string& place);

// A file or folder that ships with the project ("prose"): beside the sources, or, once installed,
// in share/kvengine beside the program's own folder. Throws Error(kData) that lists where it
// looked.
std::filesystem::path shipped_data(const std::string& name);

// XXH3-64 in hex.
std::string hash_text(std::string_view bytes);

// Without ASCII white space at both ends.
std::string_view strip(std::string_view text);

// One line of a file of rows.
struct NumberedRow {
  int line = 0;  // from 1, blank lines counted
  std::string_view text;
};

// The lines of a text without ASCII white space at both ends, as JSON lines are read; blank ones are
// left out. They point into the text.
std::vector<NumberedRow> numbered_rows(std::string_view text);

// The lines of a text without their line ends (LF or CRLF); blank lines are left out.
std::vector<std::string> lines_not_blank(std::string_view text);

}  // namespace kv
