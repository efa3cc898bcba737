#include "engine/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/tokenizer/unicode.h"

namespace kv::jinja {
namespace {

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

std::string quoted(const std::string& text) {
  const bool double_quotes =
      text.find('\'') != std::string::npos && text.find('"') == std::string::npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
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
  return out + quote;
}

std::string joined_reprs(const List& items) {
  std::string out;
  for (const Value& item : items) out.append(out.empty() ? "" : ", ").append(item.repr());
  return out;
}

std::string dict_repr(const Dict& dict) {
  std::string out;
  for (const auto& [key, value] : dict.entries) {
    out += fmt::format("{}{}: {}", out.empty() ? "" : ", ", key.repr(), value.repr());
  }
  return fmt::format("{{{}}}", out);
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
  value.data_ = ListBox{std::make_shared<const List>(std::move(items))};
  return value;
}

Value Value::tuple(List items) {
  Value value;
  value.data_ = TupleBox{std::make_shared<const List>(std::move(items))};
  return value;
}

Value Value::dict(Dict entries) {
  Value value;
  value.data_ = DictBox{std::make_shared<const Dict>(std::move(entries))};
  return value;
}

Value Value::name_space(Dict entries) {
  Value value;
  value.data_ = NamespaceBox{std::make_shared<Dict>(std::move(entries))};
  return value;
}

Value Value::callable(std::string name, std::function<Value(const Arguments&)> call) {
  Value value;
  value.data_ =
      CallableBox{std::make_shared<const Callable>(Callable{std::move(name), std::move(call)})};
  return value;
}

Value Value::from_json(const nlohmann::ordered_json& json) {
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
      for (const auto& item : json) items.push_back(from_json(item));
      return list(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      Dict entries;
      for (const auto& [key, value] : json.items())
        entries.entries.emplace_back(key, from_json(value));
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

Dict& Value::namespace_entries() const {
  return *std::get<NamespaceBox>(data_).entries;
}

const Callable& Value::function() const {
  return *std::get<CallableBox>(data_).function;
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
  switch (type()) {
    case Type::kUndefined:
      return "Undefined";
    case Type::kNone:
      return "None";
    case Type::kBool:
      return integer() ? "True" : "False";
    case Type::kInteger:
      return std::to_string(integer());
    case Type::kFloat:
      return float_text(number());
    case Type::kString:
      return quoted(string());
    case Type::kList:
      return fmt::format("[{}]", joined_reprs(items()));
    case Type::kTuple:
      return fmt::format("({}{})", joined_reprs(items()), items().size() == 1 ? "," : "");
    case Type::kDict:
      return dict_repr(entries());
    case Type::kNamespace:
      return fmt::format("<Namespace {}>", dict_repr(entries()));
    case Type::kCallable:
      return fmt::format("<function {}>", function().name);
  }
  return {};
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_integer() && b.is_integer() ? a.integer() == b.integer() : a.number() == b.number();
  }
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Value::Type::kUndefined:
    case Value::Type::kNone:
      return true;
    case Value::Type::kString:
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
  if (a.is_integer() && b.is_integer())
    return (a.integer() > b.integer()) - (a.integer() < b.integer());
  if (a.is_number() && b.is_number()) return (a.number() > b.number()) - (a.number() < b.number());
  if (a.is_string() && b.is_string()) {
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
  List items;
  switch (value.type()) {
    case Value::Type::kUndefined:
      return {};
    case Value::Type::kList:
    case Value::Type::kTuple:
      return value.items();
    case Value::Type::kString:
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

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    next_code_point(text, at);
    out.emplace_back(text.substr(begin, at - begin));
  }
  return out;
}

}  // namespace kv::jinja
