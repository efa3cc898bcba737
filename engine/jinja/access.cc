// Access to parts of values, and the arguments of builtins.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "engine/jinja/builtins.h"
#include "engine/jinja/text.h"
#include "engine/jinja/work.h"
#include "engine/tokenizer/unicode.h"

namespace kv::jinja {
namespace {

Value missing(const Value& object, const std::string& name) {
  return Value::undefined(
      fmt::format("'{} object' has no attribute '{}'", object.type_name(), name));
}

Value at_index(const Value& object, int64_t index) {
  const int64_t size = object.is_string() ? length_of_text(object.string())
                                          : static_cast<int64_t>(object.items().size());
  if (index < 0) index += size;
  if (index < 0 || index >= size) return missing(object, std::to_string(index));
  if (object.is_string()) {
    const std::vector<size_t> places = character_places(object.string());
    size_t end = places[static_cast<size_t>(index)];
    next_code_point(object.string(), end);
    const size_t begin = places[static_cast<size_t>(index)];
    return object.string().substr(begin, end - begin);
  }
  return object.items()[static_cast<size_t>(index)];
}

}  // namespace

Value get_item(const Value& object, const Value& key) {
  spend(8);
  if (object.is_undefined()) fail(object.undefined_reason());
  if (object.is_dict() || object.is(Value::Type::kNamespace)) {
    if (const Value* found = object.entries().find(key)) return *found;
  } else if ((object.is_string() || object.is_sequence()) && key.is_integer()) {
    return at_index(object, key.integer());
  }
  if (!key.is_string()) return missing(object, key.str());
  const Value method =
      object.is(Value::Type::kNamespace) ? Value() : find_method(object, key.string());
  return method.is_undefined() ? missing(object, key.string()) : method;
}

Value get_attribute(const Value& object, const std::string& name) {
  if (object.is_undefined()) fail(object.undefined_reason());
  if (!object.is(Value::Type::kNamespace)) {
    Value method = find_method(object, name);
    if (!method.is_undefined()) return method;
  }
  if (object.is_dict() || object.is(Value::Type::kNamespace)) {
    if (const Value* found = object.entries().find_name(name)) return *found;
  }
  return missing(object, name);
}

Value get_path(const Value& object, const std::string& path) {
  Value current = object;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string part = path.substr(begin, end - begin);
    int64_t index = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool is_index =
        !part.empty() && parsed.ec == std::errc() && parsed.ptr == part.data() + part.size();
    current = get_item(current, is_index ? Value(index) : Value(part));
    begin = end + 1;
  }
  return current;
}

bool contains(const Value& haystack, const Value& needle) {
  if (haystack.is_string()) {
    if (!needle.is_string())
      fail(fmt::format("'in <string>' needs a string on its left, found {}", needle.type_name()));
    return find_text(haystack.string(), needle.string()) != std::string::npos;
  }
  if (haystack.is_dict()) return haystack.entries().find(needle) != nullptr;
  for (const Value& item : iterate(haystack)) {
    if (equal(item, needle)) return true;
  }
  return false;
}

const Value* ArgumentReader::next(const char* name) {
  if (position_ < arguments_.positional.size()) return &arguments_.positional[position_++];
  return next_named(name);
}

const Value* ArgumentReader::next_named(const char* name) {
  spend(arguments_.named.size());
  for (const auto& [given, value] : arguments_.named) {
    if (given != name) continue;
    read_by_name_.push_back(&value);
    return &value;
  }
  return nullptr;
}

const Value& ArgumentReader::required(const char* name) {
  const Value* value = next(name);
  if (value == nullptr) fail(fmt::format("{}: the argument '{}' is missing", what_, name));
  return *value;
}

std::string ArgumentReader::text(const char* name, const std::string& fallback) {
  const Value* value = next(name);
  if (value == nullptr) return fallback;
  if (!value->is_string()) {
    fail(fmt::format("{}: argument '{}': expected a string, found {}", what_, name,
                     value->type_name()));
  }
  return value->string();
}

int64_t ArgumentReader::integer(const char* name, int64_t fallback) {
  const Value* value = next(name);
  if (value == nullptr) return fallback;
  if (!value->is_integer()) {
    fail(fmt::format("{}: argument '{}': expected an integer, found {}", what_, name,
                     value->type_name()));
  }
  return value->integer();
}

bool ArgumentReader::flag(const char* name, bool fallback) {
  const Value* value = next(name);
  return value == nullptr ? fallback : value->truthy();
}

List ArgumentReader::rest_of_positions() {
  List left;
  for (; position_ < arguments_.positional.size(); ++position_)
    left.push_back(arguments_.positional[position_]);
  return left;
}

Dict ArgumentReader::rest_of_names() {
  Dict left;
  for (const auto& [name, value] : arguments_.named) {
    if (std::find(read_by_name_.begin(), read_by_name_.end(), &value) != read_by_name_.end())
      continue;
    read_by_name_.push_back(&value);
    left.set(Value(name), value);
  }
  return left;
}

void ArgumentReader::done() const {
  if (position_ < arguments_.positional.size()) {
    fail(fmt::format("{}: expected at most {} arguments, found {}", what_, position_,
                     arguments_.positional.size()));
  }
  if (read_by_name_.size() < arguments_.named.size()) {
    std::string names;
    for (const auto& entry : arguments_.named)
      names.append(names.empty() ? "" : ", ").append(entry.first);
    fail(fmt::format("{}: an argument by name is not supported here (found: {})", what_, names));
  }
}

}  // namespace kv::jinja
