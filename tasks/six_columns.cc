#include "tasks/six_columns.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "engine/error.h"
#include "engine/value.h"
#include "tasks/scorers/python_json.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

// One row before its types are checked.
struct Cells {
  std::string place;
  std::map<std::string, PyJson> values;
};

std::vector<std::string> needed(Columns columns) {
  if (columns == Columns::kAnswered) return {"answer", "task", "predicted_answer"};
  return {"context", "question", "answer_prefix", "answer", "task", "max_new_tokens"};
}

// RFC 4180, line ends LF or CRLF. Blank lines are left out.
class CsvReader {
 public:
  CsvReader(const std::string& text, std::string file) : text_(text), file_(std::move(file)) {
    if (text_.substr(0, 3) == "\xef\xbb\xbf") at_ = 3;  // what spreadsheets put in front
  }

  // The fields of the next row and the line on which it starts; false at the end.
  bool next(std::vector<std::string>& fields, int& line) {
    while (at_ < text_.size() && skip_line_end()) {
    }
    if (at_ >= text_.size()) return false;
    fields.clear();
    line = line_;
    while (true) {
      fields.push_back(read_field());
      if (at_ >= text_.size() || skip_line_end()) return true;
      ++at_;  // the comma
    }
  }

 private:
  bool skip_line_end() {
    const size_t length = text_[at_] == '\n' ? 1 : text_.compare(at_, 2, "\r\n") == 0 ? 2 : 0;
    at_ += length;
    if (length > 0) ++line_;
    return length > 0;
  }

  bool at_field_end() const {
    return at_ >= text_.size() || text_[at_] == ',' || text_[at_] == '\n' ||
           text_.compare(at_, 2, "\r\n") == 0;
  }

  std::string read_field() {
    std::string field;
    if (at_ >= text_.size() || text_[at_] != '"') {
      while (!at_field_end()) field += text_[at_++];
      return field;
    }
    const int first_line = line_;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != '"') {
        field += text_[at_];
      } else if (text_.compare(at_, 2, "\"\"") == 0) {
        field += '"';
        ++at_;
      } else {
        ++at_;
        if (!at_field_end()) {
          throw_data("{}:{}: expected a comma after a closing quote, found '{}'", file_, line_,
                     text_[at_]);
        }
        return field;
      }
    }
    throw_data("{}:{}: this field's quote is never closed", file_, first_line);
  }

  const std::string& text_;
  std::string file_;
  size_t at_ = 0;
  int line_ = 1;
};

std::vector<Cells> read_csv(const std::string& text, const std::string& file,
                            const std::vector<std::string>& columns) {
  CsvReader reader(text, file);
  std::vector<std::string> header, fields;
  int line = 0;
  reader.next(header, line);
  std::set<std::string> names;
  for (const std::string& name : header) {
    if (!names.insert(name).second) throw_data("{}:{}: column '{}' twice", file, line, name);
  }
  for (const std::string& name : columns) {
    if (names.count(name) > 0) continue;
    throw_data("{}:{}: no column '{}'{}; expected {}, found {}", file, line, name,
               did_you_mean(name, header), fmt::join(columns, ", "), fmt::join(header, ", "));
  }
  std::vector<Cells> rows;
  while (reader.next(fields, line)) {
    if (fields.size() != header.size()) {
      throw_data("{}:{}: expected {} fields as in the header, found {}", file, line, header.size(),
                 fields.size());
    }
    Cells cells{fmt::format("{}:{}", file, line), {}};
    for (size_t i = 0; i < fields.size(); ++i) {
      PyJson& value = cells.values[header[i]];
      value.kind = PyJson::Kind::kString;
      value.text = std::move(fields[i]);
    }
    rows.push_back(std::move(cells));
  }
  return rows;
}

std::vector<Cells> read_json_lines(const std::string& text, const std::string& file,
                                   const std::vector<std::string>& columns) {
  std::vector<Cells> rows;
  for (const auto& [line, row] : numbered_rows(text)) {
    Cells cells{fmt::format("{}:{}", file, line), {}};
    std::string problem;
    const std::optional<PyJson> object = parse_python_json(row, &problem);
    if (!object) throw_data("{}: not valid JSON: {}", cells.place, problem);
    if (!object->is_map()) {
      throw_data("{}: expected an object with {}, found {}", cells.place, fmt::join(columns, ", "),
                 object->type_name());
    }
    for (const auto& [key, value] : object->entries) cells.values[key] = value;
    for (const std::string& name : columns) {
      if (cells.values.count(name) > 0) continue;
      std::vector<std::string> found;
      for (const auto& [key, value] : cells.values) found.push_back(key);
      throw_data("{}: no column '{}'{}; expected {}, found {}", cells.place, name,
                 did_you_mean(name, found), fmt::join(columns, ", "), fmt::join(found, ", "));
    }
    rows.push_back(std::move(cells));
  }
  return rows;
}

std::string text_of(const Cells& cells, const char* column) {
  const auto found = cells.values.find(column);
  if (found == cells.values.end()) return "";
  if (!found->second.is_string()) {
    throw_data("{}: {}: expected a string, found {}", cells.place, column,
               found->second.type_name());
  }
  return found->second.text;
}

int count_of(const Cells& cells, const char* column) {
  const auto found = cells.values.find(column);
  if (found == cells.values.end()) return 0;
  const std::string& text = found->second.text;  // also an integer's digits
  int count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count < 1 || count > 1 << 20) {
    throw_data("{}: {}: expected a whole number of tokens from 1, found {}", cells.place, column,
               text.empty() ? found->second.type_name() : "'" + text + "'");
  }
  return count;
}

}  // namespace

std::vector<SixColumnRow> read_six_columns(const fs::path& path, Columns columns) {
  const std::string text = read_text_file(path);
  const std::string file = path.string();
  const std::vector<Cells> cells = path.extension() == ".csv"
                                       ? read_csv(text, file, needed(columns))
                                       : read_json_lines(text, file, needed(columns));
  if (cells.empty()) throw_data("{}: expected rows, found none", file);
  std::vector<SixColumnRow> rows;
  for (const Cells& cell : cells) {
    SixColumnRow row;
    row.place = cell.place;
    row.answer = text_of(cell, "answer");
    row.task = text_of(cell, "task");
    if (columns == Columns::kAnswered) {
      row.predicted_answer = text_of(cell, "predicted_answer");
    } else {
      row.context = text_of(cell, "context");
      row.question = text_of(cell, "question");
      row.answer_prefix = text_of(cell, "answer_prefix");
      row.max_new_tokens = count_of(cell, "max_new_tokens");
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace kv
