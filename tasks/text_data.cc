#include "tasks/text_data.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>

#include "engine/error.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view kSpaces = " \t\n\v\f\r";

int32_t read_token_id(const json& value, const fs::path& path, size_t list, size_t index) {
  const bool whole = value.is_number_integer();
  const double id = whole ? value.get<double>() : -1;
  if (!whole || id < 0 || id > std::numeric_limits<int32_t>::max()) {
    throw_data("{}: [{}][{}]: expected a token id (a whole number >= 0), found {}", path.string(),
               list, index, value.dump());
  }
  return static_cast<int32_t>(id);
}

}  // namespace

std::string read_text_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || fs::is_directory(path)) throw_data("{}: cannot be read as a file", path.string());
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad()) throw_data("{}: reading failed", path.string());
  if (strip(text).empty()) throw_data("{}: expected text, found an empty file", path.string());
  return text;
}

std::string read_text_file_or_folder(const fs::path& path) {
  if (!fs::is_directory(path)) return read_text_file(path);
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    if (entry.is_regular_file() && entry.path().extension() == ".txt")
      files.push_back(entry.path());
  }
  if (files.empty())
    throw_data("{}: expected .txt files in this folder, found none", path.string());
  std::sort(files.begin(), files.end());
  std::string text;
  for (const fs::path& file : files) text += read_text_file(file);
  return text;
}

std::vector<std::string> read_jsonl_texts(const fs::path& path) {
  const std::string file = read_text_file(path);
  std::vector<std::string> texts;
  for (const auto& [line, row] : numbered_rows(file)) {
    const json object = json::parse(row, nullptr, false);
    if (object.is_discarded()) throw_data("{}:{}: not valid JSON", path.string(), line);
    if (!object.is_object() || !object.contains("text") || !object["text"].is_string()) {
      throw_data("{}:{}: expected an object with a string under 'text', found {}", path.string(),
                 line, object.is_object() ? "an object without it" : object.type_name());
    }
    texts.push_back(object["text"].get<std::string>());
  }
  return texts;
}

std::vector<std::vector<int32_t>> read_token_lists(const fs::path& path) {
  const json file = json::parse(read_text_file(path), nullptr, false);
  if (file.is_discarded()) throw_data("{}: not valid JSON", path.string());
  if (!file.is_array()) {
    throw_data("{}: expected a list of token-id lists, found {}", path.string(), file.type_name());
  }
  std::vector<std::vector<int32_t>> lists;
  for (size_t i = 0; i < file.size(); ++i) {
    if (!file[i].is_array()) {
      throw_data("{}: [{}]: expected a list of token ids, found {} (one list is written [[1, 2]])",
                 path.string(), i, file[i].type_name());
    }
    std::vector<int32_t> ids;
    for (size_t j = 0; j < file[i].size(); ++j)
      ids.push_back(read_token_id(file[i][j], path, i, j));
    lists.push_back(std::move(ids));
  }
  return lists;
}

fs::path find_data(const std::string& data, const std::string& base_folder,
                   const std::string& place) {
  const fs::path path = fs::path(base_folder) / data;  // an absolute `data` replaces the base
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    throw_data("{}: data: '{}' does not exist (paths are relative to the config file)", place,
               path.lexically_normal().string());
  }
  return path.lexically_normal();
}

fs::path shipped_data(const std::string& name) {
  std::error_code failed;
  const fs::path program = fs::read_symlink("/proc/self/exe", failed);
  const fs::path installed = program.parent_path().parent_path() / "share" / "kvengine" / name;
  const fs::path source = fs::path(KV_TASK_DATA_DIR) / name;
  if (!failed && fs::exists(installed)) return installed;
  if (fs::exists(source)) return source;
  throw_data(
      "'{}', which ships with the project, is neither at {} nor at {}; install the program with "
      "cmake --install, or give the task a file of your own with 'data'",
      name, installed.string(), source.string());
}

std::string hash_text(std::string_view bytes) {
  return fmt::format("{:016x}", XXH3_64bits(bytes.data(), bytes.size()));
}

std::string_view strip(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

std::vector<NumberedRow> numbered_rows(std::string_view text) {
  std::vector<NumberedRow> rows;
  size_t begin = 0;
  for (int line = 1; begin < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view row = strip(text.substr(begin, end - begin));
    begin = end + 1;
    if (!row.empty()) rows.push_back({line, row});
  }
  return rows;
}

std::vector<std::string> lines_not_blank(std::string_view text) {
  std::vector<std::string> lines;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (!strip(line).empty()) lines.emplace_back(line);
  }
  return lines;
}

}  // namespace kv
