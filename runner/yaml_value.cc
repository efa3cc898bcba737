#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <sstream>

#include "engine/error.h"
#include "engine/tokenizer/unicode.h"
#include "runner/value_io.h"

namespace kv {
namespace {

// Aliases can make a small file endless; nothing that people write is deeper or larger than this.
constexpr int kMaxDepth = 64;
constexpr int kMaxNodes = 1'000'000;
constexpr size_t kMaxPlaceBytes = size_t{1} << 28;

class YamlReader {
 public:
  explicit YamlReader(std::string file) : file_(std::move(file)) {}

  // line: where to say that the value stands; 0: at its own mark.
  Value read(const YAML::Node& node, const std::string& path, int line, int depth) {
    const int at = line > 0 ? line : line_of(node);
    Value value;
    value.place = fmt::format("{}:{}{}{}", file_, at, path.empty() ? "" : ": ", path);
    place_bytes_ += value.place.size();
    if (depth > kMaxDepth || ++n_nodes_ > kMaxNodes || place_bytes_ > kMaxPlaceBytes) {
      throw_usage("{}: nested too deeply or too large (an alias that contains itself?)",
                  value.place);
    }
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        break;
      case YAML::NodeType::Scalar:
        read_scalar(node, value);
        break;
      case YAML::NodeType::Sequence:
        value.kind = Value::Kind::kList;
        for (const YAML::Node& item : node) {
          value.items.push_back(
              read(item, fmt::format("{}[{}]", path, value.items.size()), 0, depth + 1));
        }
        break;
      case YAML::NodeType::Map:
        read_map(node, path, depth, value);
        break;
    }
    return value;
  }

 private:
  static int line_of(const YAML::Node& node) {
    const YAML::Mark mark = node.Mark();
    return mark.is_null() ? 1 : mark.line + 1;
  }

  void read_map(const YAML::Node& node, const std::string& path, int depth, Value& value) {
    value.kind = Value::Kind::kMap;
    std::map<std::string, int> line_of_key;
    for (const auto& entry : node) {
      const int line = line_of(entry.first);
      if (!entry.first.IsScalar()) {
        throw_usage("{}:{}: {}: a key must be a word, not a list or a map", file_, line,
                    path.empty() ? "top level" : path);
      }
      const std::string key = entry.first.Scalar();
      const std::string key_path = path.empty() ? key : path + "." + key;
      const auto [first, is_new] = line_of_key.emplace(key, line);
      if (!is_new) {
        throw_usage("{}:{}: {}: this key is given twice, first in line {}; remove one of the two",
                    file_, line, key_path, first->second);
      }
      value.entries.emplace_back(key, read(entry.second, key_path, line, depth + 1));
    }
  }

  // YAML 1.2's core schema for plain words; quoted text is always a string.
  static void read_scalar(const YAML::Node& node, Value& value) {
    const std::string& text = node.Scalar();
    const bool plain = node.Tag() == "?" || node.Tag().empty();
    if (plain &&
        (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL")) {
      return;
    }
    if (plain && (text == "true" || text == "True" || text == "TRUE")) {
      value.kind = Value::Kind::kBool;
      value.boolean = true;
    } else if (plain && (text == "false" || text == "False" || text == "FALSE")) {
      value.kind = Value::Kind::kBool;
    } else if (double number = 0; plain && read_number(text, number)) {
      value.kind = Value::Kind::kNumber;
      value.number = number;
    } else {
      value.kind = Value::Kind::kString;
      value.text = text;
    }
  }

  static bool read_number(const std::string& text, double& number) {
    size_t begin = text[0] == '+' ? 1 : 0;
    if (begin == text.size() || (begin == 1 && text[1] == '-')) return false;
    // from_chars also reads "inf" and "nan", which YAML spells otherwise: they stay words.
    const size_t digit = begin + (text[begin] == '-' ? 1 : 0);
    if (digit >= text.size() || (text[digit] != '.' && (text[digit] < '0' || text[digit] > '9'))) {
      return false;
    }
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data() + begin, last, number);
    return error == std::errc() && end == last;
  }

  std::string file_;
  int n_nodes_ = 0;
  size_t place_bytes_ = 0;
};

class IgnoreEvents : public YAML::EventHandler {
 public:
  using Mark = YAML::Mark;
  using Anchor = YAML::anchor_t;
  using Style = YAML::EmitterStyle::value;
  void OnDocumentStart(const Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const Mark&, Anchor) override {}
  void OnAlias(const Mark&, Anchor) override {}
  void OnScalar(const Mark&, const std::string&, Anchor, const std::string&) override {}
  void OnSequenceStart(const Mark&, const std::string&, Anchor, Style) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const Mark&, const std::string&, Anchor, Style) override {}
  void OnMapEnd() override {}
};

// YAML::LoadAll would find empty documents without end where a file begins with a comma.
bool has_second_document(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  IgnoreEvents events;
  return parser.HandleNextDocument(events) && parser.HandleNextDocument(events);
}

// YAML is text; yaml-cpp takes byte 4 for the end.
void check_characters(const std::string& text, const std::string& file) {
  const size_t invalid = find_invalid_utf8(text);
  const auto control = std::find_if(text.begin(), text.end(), [](unsigned char c) {
    return c < 0x20 && c != '\t' && c != '\n' && c != '\r';
  });
  const size_t at = std::min(invalid, static_cast<size_t>(control - text.begin()));
  if (at >= text.size()) return;
  const auto line =
      1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
  throw_usage("{}:{}: not valid YAML: expected text in UTF-8, found byte 0x{:02x} at offset {}",
              file, line, static_cast<unsigned char>(text[at]), at);
}

}  // namespace

Value parse_yaml(const std::string& text, const std::string& file) {
  check_characters(text, file);
  try {
    if (has_second_document(text)) {
      throw_usage(
          "{}: more than one YAML document in the file, expected one; remove the '---' between "
          "them, or what "
          "stands before the first key",
          file);
    }
    return YamlReader(file).read(YAML::Load(text), "", 0, 0);
  } catch (const YAML::Exception& e) {
    const int line = e.mark.is_null() ? 1 : e.mark.line + 1;
    throw_usage("{}:{}: not valid YAML: {} (column {})", file, line, e.msg,
                e.mark.is_null() ? 1 : e.mark.column + 1);
  }
}

}  // namespace kv
