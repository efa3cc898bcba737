// Python's json.dumps for template values.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/jinja/value.h"
#include "engine/jinja/work.h"
#include "engine/tokenizer/unicode.h"

namespace kv::jinja {
namespace {

// \uXXXX, two of them beyond the basic plane.
std::string escaped_code_point(uint32_t code) {
  if (code < 0x10000) return fmt::format("\\u{:04x}", code);
  const uint32_t offset = code - 0x10000;
  return fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (offset >> 10), 0xDC00 + (offset & 0x3FF));
}

std::string json_string(const std::string& text, bool ensure_ascii) {
  std::string out = "\"";
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (ensure_ascii && static_cast<unsigned char>(c) >= 0x7F) {
      const uint32_t code = next_code_point(text, at);
      out += code == 0x7F ? std::string(1, c) : escaped_code_point(code);
      continue;
    }
    ++at;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", c);
        } else {
          out += c;
        }
    }
  }
  out += '"';
  return out;
}

class Writer {
 public:
  explicit Writer(const JsonStyle& style) : style_(style) {}

  void write(const Value& value, int depth) {
    spend(1);
    switch (value.type()) {
      case Value::Type::kNone:
        out += "null";
        return;
      case Value::Type::kBool:
        out += value.truthy() ? "true" : "false";
        return;
      case Value::Type::kInteger:
        out += value.repr();
        return;
      case Value::Type::kFloat:
        out += number(value.number(), value);
        return;
      case Value::Type::kString:
        out += json_string(value.string(), style_.ensure_ascii);
        return;
      case Value::Type::kList:
      case Value::Type::kTuple:
        write_list(value.items(), depth);
        return;
      case Value::Type::kDict:
        write_dict(value.entries(), depth);
        return;
      case Value::Type::kUndefined:
        fail("tojson: " + value.undefined_reason());
      default:
        fail("tojson: cannot write a " + value.type_name());
    }
  }

  TextBuilder out;

 private:
  static std::string number(double value, const Value& source) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return source.repr();
  }

  // Between the elements, and before the first (first = true) and behind the last.
  void separate(int depth, bool comma) {
    if (comma) out += style_.between_items;
    if (style_.indent < 0) return;
    out += "\n";
    out.repeat(" ", static_cast<size_t>(style_.indent) * depth);
  }

  void write_list(const List& items, int depth) {
    out += "[";
    for (size_t i = 0; i < items.size(); ++i) {
      separate(depth + 1, i > 0);
      write(items[i], depth + 1);
    }
    if (!items.empty()) separate(depth, false);
    out += "]";
  }

  static std::string key_text(const Value& key) {
    if (key.is_string()) return key.string();
    if (key.is(Value::Type::kBool)) return key.truthy() ? "true" : "false";
    if (key.is_none()) return "null";
    if (key.is_number()) return key.repr();
    fail("tojson: a " + key.type_name() + " cannot be a key");
  }

  void write_dict(const Dict& dict, int depth) {
    auto entries = dict.entries;
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto& a, const auto& b) { return compare(a.first, b.first) < 0; });
    }
    out += "{";
    for (size_t i = 0; i < entries.size(); ++i) {
      separate(depth + 1, i > 0);
      out += json_string(key_text(entries[i].first), style_.ensure_ascii) + style_.behind_keys;
      write(entries[i].second, depth + 1);
    }
    if (!entries.empty()) separate(depth, false);
    out += "}";
  }

  const JsonStyle& style_;
};

}  // namespace

std::string to_json(const Value& value, const JsonStyle& style) {
  Writer writer(style);
  writer.write(value, 0);
  return writer.out.take();
}

}  // namespace kv::jinja
