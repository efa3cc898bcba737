// Filters of single values; those that work through lists stand in list_filters.cc.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "engine/jinja/builtins.h"
#include "engine/jinja/filter_table.h"
#include "engine/jinja/format.h"
#include "engine/jinja/operators.h"
#include "engine/jinja/strings.h"
#include "engine/jinja/text.h"
#include "engine/jinja/work.h"
#include "engine/tokenizer/unicode.h"

namespace kv::jinja {
namespace {

Value trim(const Value& input, ArgumentReader& arguments) {
  const Value* drop = arguments.next("chars");
  const std::string text = input.str();
  if (drop != nullptr && drop->is_string())
    return std::string(strip_characters(text, drop->string(), true, true));
  return std::string(strip_left(strip_right(text)));
}

Value fallback_value(const Value& input, ArgumentReader& arguments) {
  const Value* fallback = arguments.next("default_value");
  const bool also_false = arguments.flag("boolean", false);
  const bool replaced = input.is_undefined() || (also_false && !input.truthy());
  if (!replaced) return input;
  return fallback == nullptr ? Value("") : *fallback;
}

// With transformers' order of arguments, which is not Jinja's.
Value tojson(const Value& input, ArgumentReader& arguments) {
  JsonStyle style;
  style.ensure_ascii = arguments.flag("ensure_ascii", false);
  const Value* indent = arguments.next("indent");
  if (indent != nullptr && !indent->is_none()) {
    if (!indent->is_integer())
      fail(fmt::format("tojson: indent: expected an integer, found {}", indent->type_name()));
    style.indent = static_cast<int>(std::clamp<int64_t>(indent->integer(), 0, 100));
    style.between_items.assign(1, ',');
  }
  const Value* separators = arguments.next("separators");
  if (separators != nullptr && !separators->is_none()) {
    if (!separators->is_sequence() || separators->items().size() != 2)
      fail("tojson: separators: expected two strings");
    style.between_items = separators->items()[0].str();
    style.behind_keys = separators->items()[1].str();
  }
  style.sort_keys = arguments.flag("sort_keys", false);
  return to_json(input, style);
}

// Runs of word characters.
Value count_words(const Value& input, ArgumentReader&) {
  const std::string text = input.str();
  int64_t words = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const bool letter = is_word(next_code_point(text, at));
    words += letter && !inside;
    inside = letter;
  }
  return words;
}

Value replace(const Value& input, ArgumentReader& arguments) {
  const std::string from = arguments.required("old").str();
  const std::string to = arguments.required("new").str();
  return replace_text(input.str(), from, to, arguments.integer("count", -1));
}

// The number that a text spells, white space around it allowed; false where it is none.
bool parse_number(std::string_view text, double& value) {
  text = strip_left(strip_right(text));
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

Value to_integer(const Value& input, ArgumentReader& arguments) {
  const Value* fallback = arguments.next("default");
  if (input.is_integer()) return input.integer();
  double number = 0;
  bool known = input.is(Value::Type::kFloat);
  if (known) number = input.number();
  if (input.is_string()) {
    const std::string_view text = strip_left(strip_right(input.string()));
    int64_t integer = 0;
    const std::string_view digits = text.starts_with('+') ? text.substr(1) : text;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), integer);
    if (!digits.empty() && parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size())
      return integer;
    known = parse_number(text, number);
  }
  if (known && std::fabs(number) < 9e18) return static_cast<int64_t>(number);
  return fallback == nullptr ? Value(int64_t{0}) : *fallback;
}

Value to_float(const Value& input, ArgumentReader& arguments) {
  const Value* fallback = arguments.next("default");
  if (input.is_number()) return input.number();
  double number = 0;
  if (input.is_string() && parse_number(input.string(), number)) return number;
  return fallback == nullptr ? Value(0.0) : *fallback;
}

Value absolute(const Value& input, ArgumentReader&) {
  if (input.is_integer()) return input.integer() < 0 ? negative(input) : input.integer();
  if (!input.is_number())
    fail(fmt::format("filter 'abs': expected a number, found {}", input.type_name()));
  return std::fabs(input.number());
}

Value rounded(const Value& input, ArgumentReader& arguments) {
  const int64_t precision = arguments.integer("precision", 0);
  const std::string method = arguments.text("method", "common");
  if (!input.is_number())
    fail(fmt::format("filter 'round': expected a number, found {}", input.type_name()));
  if (method == "common" && input.is_integer() && precision >= 0) return input.integer();
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = input.number() * scale;
  if (method == "ceil") return std::ceil(scaled) / scale;
  if (method == "floor") return std::floor(scaled) / scale;
  if (method != "common") fail("filter 'round': method must be common, ceil or floor");
  return std::nearbyint(scaled) / scale;  // half to even, as Python
}

Value indented(const Value& input, ArgumentReader& arguments) {
  const Value* width = arguments.next("width");
  const bool first = arguments.flag("first", false);
  const bool blank = arguments.flag("blank", false);
  std::string prefix(4, ' ');
  if (width != nullptr && width->is_string()) {
    prefix = width->string();
  } else if (width != nullptr) {
    if (!width->is_integer()) {
      fail(fmt::format("filter 'indent': width: expected an integer or a string, found {}",
                       width->type_name()));
    }
    prefix.assign(static_cast<size_t>(std::clamp<int64_t>(width->integer(), 0, kLargestText)), ' ');
  }
  const std::vector<std::string> lines = split_lines(input.str() + "\n", false);
  TextBuilder out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i == 0 ? first : (blank || !lines[i].empty())) out += prefix;
    out += lines[i];
  }
  return out.take();
}

Value escaped(const Value& input, ArgumentReader&) {
  std::string out;
  for (const char c : input.str()) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// pattern | format(values): as the operator '%', with a tuple or, by name, a dict.
Value formatted(const Value& input, ArgumentReader& arguments) {
  List values = arguments.rest_of_positions();
  Dict names = arguments.rest_of_names();
  if (!values.empty() && !names.entries.empty())
    fail("filter 'format': values by position and by name cannot be mixed");
  return format_percent(input.str(), names.entries.empty() ? Value::tuple(std::move(values))
                                                           : Value::dict(std::move(names)));
}

Value centered(const Value& input, ArgumentReader& arguments) {
  return center_text(input.str(), arguments.integer("width", 80), " ");
}

}  // namespace

void add_value_filters(FilterTable& table) {
  table["trim"] = trim;
  table["default"] = table["d"] = fallback_value;
  table["tojson"] = tojson;
  table["replace"] = replace;
  table["int"] = to_integer;
  table["float"] = to_float;
  table["abs"] = absolute;
  table["round"] = rounded;
  table["indent"] = indented;
  table["format"] = formatted;
  table["center"] = centered;
  table["escape"] = table["e"] = escaped;
  table["wordcount"] = count_words;
  table["string"] = [](const Value& v, ArgumentReader&) -> Value { return v.str(); };
  table["safe"] = [](const Value& v, ArgumentReader&) -> Value { return v; };
  table["upper"] = [](const Value& v, ArgumentReader&) -> Value { return upper_case(v.str()); };
  table["lower"] = [](const Value& v, ArgumentReader&) -> Value { return lower_case(v.str()); };
  table["capitalize"] = [](const Value& v, ArgumentReader&) -> Value {
    return capitalize(v.str());
  };
  table["title"] = [](const Value& v, ArgumentReader&) -> Value { return title_words(v.str()); };
  table["attr"] = [](const Value& v, ArgumentReader& a) {
    return get_attribute(v, a.required("name").str());
  };
}

namespace {

const FilterTable& filter_table() {
  static const FilterTable table = [] {
    FilterTable filters;
    add_value_filters(filters);
    add_list_filters(filters);
    return filters;
  }();
  return table;
}

}  // namespace

bool has_filter(const std::string& name) {
  return filter_table().contains(name);
}

Value apply_filter(const std::string& name, const Value& input, const Arguments& arguments) {
  const auto found = filter_table().find(name);
  if (found == filter_table().end()) fail(fmt::format("the filter '{}' is not supported", name));
  spend(8 + input.size() / 16);
  ArgumentReader reader(arguments, fmt::format("filter '{}'", name));
  Value result = found->second(input, reader);
  reader.done();
  return result;
}

}  // namespace kv::jinja
