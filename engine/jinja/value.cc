#include "engine/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/jinja/work.h"
#include "engine/tokenizer/unicode.h"

namespace kv::jinja {
namespace {

void check_depth(int depth) {
  if (depth > kDeepestValue)
    fail(fmt::format("a value nested deeper than {} levels", kDeepestValue));
}

// Python's repr of a float: the shortest digits that read back, an exponent from 1e16 and below
// 1e-4.
std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[400];
  const double magnitude = std::fabs(value);
  const bool scientific = magnitude != 0 && (magnitude >= 1e16 || magnitude < 1e-4);
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value,
                    scientific ? std::chars_format::scientific : std::chars_format::fixed);
  std::string text(buffer, end.ptr);
  if (!scientific && text.find('.') == std::string::npos) text += ".0";
  return text;
}

void write_quoted(const std::string& text, TextBuilder& out) {
  const bool double_quotes =
      text.find('\'') != std::string::npos && text.find('"') == std::string::npos;
  const char quote = double_quotes ? '"' : '\'';
  out += quote;
  for (const char c : text) {
    switch (c) {
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\\':
        out += "\\\\";
        break;
      default:
        if (c == quote) {
          out += '\\';
          out += c;
        } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
          out += fmt::format("\\x{:02x}", c);
        } else {
          out += c;
        }
    }
  }
  out += quote;
}

void write_repr(const Value& value, int depth, TextBuilder& out);

void write_items(const List& items, int depth, TextBuilder& out) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    write_repr(items[i], depth, out);
  }
}

void write_dict(const Dict& dict, int depth, TextBuilder& out) {
  out += "{";
  for (size_t i = 0; i < dict.entries.size(); ++i) {
    if (i > 0) out += ", ";
    write_repr(dict.entries[i].first, depth, out);
    out += ": ";
    write_repr(dict.entries[i].second, depth, out);
  }
  out += "}";
}

// depth: of the values around it, which a namespace that holds itself makes endless.
void write_repr(const Value& value, int depth, TextBuilder& out) {
  spend(1);
  check_depth(++depth);
  switch (value.type()) {
    case Value::Type::kUndefined:
      out += "Undefined";
      break;
    case Value::Type::kNone:
      out += "None";
      break;
    case Value::Type::kBool:
      out += value.integer() ? "True" : "False";
      break;
    case Value::Type::kInteger:
      out += std::to_string(value.integer());
      break;
    case Value::Type::kFloat:
      out += float_text(value.number());
      break;
    case Value::Type::kString:
      write_quoted(value.string(), out);
      break;
    case Value::Type::kList:
      out += "[";
      write_items(value.items(), depth, out);
      out += "]";
      break;
    case Value::Type::kTuple:
      out += "(";
      write_items(value.items(), depth, out);
      out += value.items().size() == 1 ? ",)" : ")";
      break;
    case Value::Type::kDict:
      write_dict(value.entries(), depth, out);
      break;
    case Value::Type::kNamespace:
      out += "<Namespace ";
      write_dict(value.entries(), depth, out);
      out += ">";
      break;
    case Value::Type::kCallable:
      out += fmt::format("<function {}>", value.function().name);
      break;
  }
}

// Checks what a list or dict is about to hold, and counts it.
int depth_of(const List& items) {
  check_list(items.size());
  spend(4 * items.size());
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, item.depth());
  check_depth(deepest + 1);
  return deepest + 1;
}

int depth_of(const Dict& dict) {
  check_list(dict.entries.size());
  spend(8 * dict.entries.size());
  int deepest = 0;
  for (const auto& [key, value] : dict.entries)
    deepest = std::max({deepest, key.depth(), value.depth()});
  check_depth(deepest + 1);
  return deepest + 1;
}

}  // namespace

void fail(std::string message) {
  throw TemplateError{std::move(message)};
}

const Value* Dict::find(const Value& key) const {
  for (const auto& entry : entries) {
    if (equal(entry.first, key)) return &entry.second;
  }
  return nullptr;
}

const Value* Dict::find_name(std::string_view key) const {
  spend(1 + entries.size() / 8);
  for (const auto& entry : entries) {
    if (entry.first.is_string() && entry.first.string() == key) return &entry.second;
  }
  return nullptr;
}

void Dict::set(Value key, Value value) {
  for (auto& entry : entries) {
    if (equal(entry.first, key)) {
      entry.second = std::move(value);
      return;
    }
  }
  entries.emplace_back(std::move(key), std::move(value));
}

Value::Value(std::string value) {
  check_text(value.size());
  spend(1 + value.size() / 8);
  data_ = TextBox{std::make_shared<const std::string>(std::move(value))};
}

Value Value::none() {
  Value value;
  value.data_ = None{};
  return value;
}

Value Value::undefined(std::string what) {
  Value value;
  value.data_ = Undefined{std::move(what)};
  return value;
}

Value Value::list(List items) {
  Value value;
  const int depth = depth_of(items);
  value.data_ = ListBox{std::make_shared<const List>(std::move(items)), depth};
  return value;
}

Value Value::tuple(List items) {
  Value value;
  const int depth = depth_of(items);
  value.data_ = TupleBox{{std::make_shared<const List>(std::move(items)), depth}};
  return value;
}

Value Value::dict(Dict entries) {
  Value value;
  const int depth = depth_of(entries);
  value.data_ = DictBox{std::make_shared<const Dict>(std::move(entries)), depth};
  return value;
}

Value Value::name_space(Dict entries) {
  Value value;
  const int depth = depth_of(entries);
  value.data_ = NamespaceBox{std::make_shared<Dict>(std::move(entries)), depth};
  return value;
}

Value Value::callable(std::string name, std::function<Value(const Arguments&)> call,
                      const Value& bound) {
  check_depth(bound.depth() + 1);
  Value value;
  value.data_ =
      CallableBox{std::make_shared<const Callable>(Callable{std::move(name), std::move(call)}),
                  bound.depth() + 1};
  return value;
}

Value Value::from_json(const nlohmann::ordered_json& json, int depth) {
  check_depth(depth);
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return Value(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
    case nlohmann::ordered_json::value_t::number_unsigned:
      return Value(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_float:
      return Value(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return Value(json.get<std::string>());
    case nlohmann::ordered_json::value_t::array: {
      List items;
      for (const auto& item : json) items.push_back(from_json(item, depth + 1));
      return list(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      Dict entries;
      for (const auto& [key, value] : json.items())
        entries.entries.emplace_back(key, from_json(value, depth + 1));
      return dict(std::move(entries));
    }
    default:
      return none();
  }
}

int64_t Value::integer() const {
  return is(Type::kBool) ? std::get<bool>(data_) : std::get<int64_t>(data_);
}

double Value::number() const {
  return is(Type::kFloat) ? std::get<double>(data_) : static_cast<double>(integer());
}

const List& Value::items() const {
  return is(Type::kList) ? *std::get<ListBox>(data_).items : *std::get<TupleBox>(data_).items;
}

const Dict& Value::entries() const {
  return is(Type::kDict) ? *std::get<DictBox>(data_).entries
                         : *std::get<NamespaceBox>(data_).entries;
}

const std::shared_ptr<Dict>& Value::namespace_entries() const {
  return std::get<NamespaceBox>(data_).entries;
}

const Callable& Value::function() const {
  return *std::get<CallableBox>(data_).function;
}

int Value::depth() const {
  switch (type()) {
    case Type::kList:
      return std::get<ListBox>(data_).depth;
    case Type::kTuple:
      return std::get<TupleBox>(data_).depth;
    case Type::kDict:
      return std::get<DictBox>(data_).depth;
    case Type::kNamespace:
      return std::get<NamespaceBox>(data_).depth;
    case Type::kCallable:
      return std::get<CallableBox>(data_).depth;
    default:
      return 0;
  }
}

size_t Value::size() const {
  if (is_string()) return string().size();
  if (is_sequence()) return items().size();
  return is(Type::kDict) || is(Type::kNamespace) ? entries().entries.size() : 0;
}

bool Value::truthy() const {
  switch (type()) {
    case Type::kUndefined:
    case Type::kNone:
      return false;
    case Type::kBool:
    case Type::kInteger:
      return integer() != 0;
    case Type::kFloat:
      return number() != 0;
    case Type::kString:
      return !string().empty();
    case Type::kList:
    case Type::kTuple:
      return !items().empty();
    case Type::kDict:
      return !entries().entries.empty();
    default:
      return true;
  }
}

std::string Value::type_name() const {
  static const char* const kNames[] = {"undefined", "NoneType",  "bool",    "int",
                                       "float",     "str",       "list",    "tuple",
                                       "dict",      "namespace", "function"};
  return kNames[data_.index()];
}

std::string Value::str() const {
  return is_string() ? string() : is_undefined() ? std::string() : repr();
}

std::string Value::repr() const {
  TextBuilder out;
  write_repr(*this, 0, out);
  return out.take();
}

bool equal(const Value& a, const Value& b) {
  spend(4);
  if (a.is_number() && b.is_number()) {
    return a.is_integer() && b.is_integer() ? a.integer() == b.integer() : a.number() == b.number();
  }
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Value::Type::kUndefined:
    case Value::Type::kNone:
      return true;
    case Value::Type::kString:
      spend(std::min(a.string().size(), b.string().size()) / 256);
      return a.string() == b.string();
    case Value::Type::kList:
    case Value::Type::kTuple:
      return std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(),
                        equal);
    case Value::Type::kDict: {
      if (a.entries().entries.size() != b.entries().entries.size()) return false;
      for (const auto& [key, value] : a.entries().entries) {
        const Value* other = b.entries().find(key);
        if (other == nullptr || !equal(value, *other)) return false;
      }
      return true;
    }
    case Value::Type::kNamespace:
      return &a.entries() == &b.entries();
    case Value::Type::kCallable:
      return &a.function() == &b.function();
    default:
      return false;
  }
}

int compare(const Value& a, const Value& b) {
  spend(4);
  if (a.is_integer() && b.is_integer())
    return (a.integer() > b.integer()) - (a.integer() < b.integer());
  if (a.is_number() && b.is_number()) return (a.number() > b.number()) - (a.number() < b.number());
  if (a.is_string() && b.is_string()) {
    spend(std::min(a.string().size(), b.string().size()) / 256);
    const int order = a.string().compare(b.string());  // UTF-8 sorts as code points do
    return (order > 0) - (order < 0);
  }
  if (a.is_sequence() && a.type() == b.type()) {
    const size_t shared = std::min(a.items().size(), b.items().size());
    for (size_t i = 0; i < shared; ++i) {
      if (!equal(a.items()[i], b.items()[i])) return compare(a.items()[i], b.items()[i]);
    }
    return (a.items().size() > shared) - (b.items().size() > shared);
  }
  if (a.is_undefined()) fail(a.undefined_reason());
  if (b.is_undefined()) fail(b.undefined_reason());
  fail(fmt::format("cannot order {} and {}", a.type_name(), b.type_name()));
}

List iterate(const Value& value) {
  spend(value.size());
  List items;
  switch (value.type()) {
    case Value::Type::kUndefined:
      return {};
    case Value::Type::kList:
    case Value::Type::kTuple:
      return value.items();
    case Value::Type::kString:
      check_list(static_cast<size_t>(length_of_text(value.string())));
      for (std::string& character : characters(value.string()))
        items.emplace_back(std::move(character));
      return items;
    case Value::Type::kDict:
      for (const auto& entry : value.entries().entries) items.push_back(entry.first);
      return items;
    default:
      fail(fmt::format("cannot iterate over {}", value.type_name()));
  }
}

int64_t length_of_text(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
}

std::vector<size_t> character_places(std::string_view text) {
  spend(text.size());
  std::vector<size_t> places;
  for (size_t at = 0; at < text.size();) {
    places.push_back(at);
    next_code_point(text, at);
  }
  return places;
}

std::vector<std::string> characters(std::string_view text) {
  spend(text.size());
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    next_code_point(text, at);
    out.emplace_back(text.substr(begin, at - begin));
  }
  return out;
}

}  // namespace kv::jinja
