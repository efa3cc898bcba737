#include "tasks/code_extract.h"

#include <algorithm>
#include <cctype>

namespace kv {
namespace {

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;  // with their line ends
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return lines;
}

std::string_view without_margin(std::string_view line) {
  const size_t begin = line.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of(" \t\r\n") + 1 - begin);
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// Follows strings, brackets and backslashes from line to line.
class PythonLines {
 public:
  // Whether the next line starts a statement, so that its column counts.
  bool at_statement() const { return quote_.empty() && depth_ == 0 && !continued_; }

  void read(std::string_view line) {
    continued_ = false;
    for (size_t i = 0; i < line.size();) i += step(line, i);
    if (quote_.size() == 1 && !continued_) quote_.clear();  // an unfinished string ends its line
  }

 private:
  // Takes the characters at i and returns how many they are.
  size_t step(std::string_view line, size_t i) {
    const char c = line[i];
    if (c == '\\') {
      continued_ = line.substr(i + 1) == "\n" || line.substr(i + 1) == "\r\n";
      return 2;
    }
    if (!quote_.empty()) {
      if (line.compare(i, quote_.size(), quote_) != 0) return 1;
      const size_t n = quote_.size();
      quote_.clear();
      return n;
    }
    if (c == '#') return line.size() - i;
    if (c == '"' || c == '\'') {
      const std::string three(3, c);
      quote_ = line.compare(i, 3, three) == 0 ? three : std::string(1, c);
      return quote_.size();
    }
    if (c == '(' || c == '[' || c == '{') ++depth_;
    if (c == ')' || c == ']' || c == '}') depth_ = std::max(0, depth_ - 1);
    return 1;
  }

  std::string quote_;  // what ends the string that we are in
  int depth_ = 0;
  bool continued_ = false;
};

struct Block {
  std::string language, code;
};

// ``` or ~~~ with what follows; a block without an end goes to the end of the text.
std::vector<Block> fenced_blocks(std::string_view text) {
  std::vector<Block> blocks;
  std::string fence;  // of the open block
  for (std::string_view line : split_lines(text)) {
    const std::string_view bare = without_margin(line);
    const bool is_fence = bare.substr(0, 3) == "```" || bare.substr(0, 3) == "~~~";
    const size_t marks =
        is_fence ? std::min(bare.find_first_not_of(bare[0]), bare.size()) : size_t{0};
    if (fence.empty() && is_fence) {
      fence = std::string(bare.substr(0, marks));
      std::string language(without_margin(bare.substr(marks)));
      std::transform(language.begin(), language.end(), language.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      blocks.push_back({language, ""});
    } else if (!fence.empty() && marks >= fence.size() && bare[0] == fence[0] &&
               marks == bare.size()) {
      fence.clear();
    } else if (!fence.empty()) {
      blocks.back().code += line;
    }
  }
  return blocks;
}

bool starts_code(std::string_view line) {
  for (std::string_view word : {"def ", "class ", "import ", "from ", "@", "async def "}) {
    if (line.substr(0, word.size()) == word) return true;
  }
  return false;
}

// Prose around a function that was not fenced.
std::string unfenced_code(std::string_view text) {
  std::string code;
  PythonLines python;
  for (std::string_view line : split_lines(text)) {
    const bool margin = !is_blank(line) && line[0] != ' ' && line[0] != '\t';
    const bool is_code = starts_code(line) || line[0] == '#';
    if (code.empty() && !starts_code(line)) continue;
    if (!code.empty() && python.at_statement() && margin && !is_code) break;
    code += line;
    python.read(line);
  }
  return code;
}

}  // namespace

const std::vector<std::string>& function_stops() {
  static const std::vector<std::string> stops = {"\ndef ",    "\nclass ",  "\nif ",   "\nprint",
                                                 "\nassert ", "\nimport ", "\nfrom ", "\n```"};
  return stops;
}

const std::vector<std::string>& program_stops() {
  static const std::vector<std::string> stops = {"\nassert", "\nprint", "\nif ", "\n\"\"\"",
                                                 "\n```"};
  return stops;
}

std::string cut_after_function(std::string_view text, bool starts_line) {
  PythonLines python;
  size_t kept = 0, at = 0;  // what is between them waits for an indented line
  bool first = !starts_line;
  for (std::string_view line : split_lines(text)) {
    const bool waits =
        python.at_statement() && !first && (is_blank(line) || line[0] == '#' || line[0] == '@');
    const bool inside = first || !python.at_statement() || line[0] == ' ' || line[0] == '\t';
    if (!waits && !inside) break;
    at += line.size();
    python.read(line);
    if (!waits) kept = at;
    first = false;
  }
  return std::string(text.substr(0, kept));
}

std::string cut_after_program(std::string_view text) {
  size_t end = text.size();
  for (const std::string& stop : program_stops()) end = std::min(end, text.find(stop));
  return std::string(text.substr(0, end));
}

bool defines_function(std::string_view code, std::string_view name) {
  for (std::string_view line : split_lines(code)) {
    if (line.substr(0, 4) != "def ") continue;
    std::string_view rest = without_margin(line.substr(4));
    if (rest.substr(0, name.size()) != name) continue;
    rest = without_margin(rest.substr(name.size()));
    if (!rest.empty() && rest[0] == '(') return true;
  }
  return false;
}

std::string code_of_chat_answer(std::string_view text, std::string_view entry_point) {
  const std::vector<Block> blocks = fenced_blocks(text);
  for (const Block& block : blocks) {
    if (!entry_point.empty() && defines_function(block.code, entry_point)) return block.code;
  }
  for (const Block& block : blocks) {
    if (block.language.empty() || block.language.rfind("py", 0) == 0) return block.code;
  }
  return blocks.empty() ? unfenced_code(text) : blocks[0].code;
}

}  // namespace kv
