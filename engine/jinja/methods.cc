// Methods of strings, lists and dicts.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/jinja/builtins.h"
#include "engine/jinja/format.h"
#include "engine/jinja/strings.h"
#include "engine/jinja/text.h"
#include "engine/jinja/work.h"
#include "engine/tokenizer/unicode.h"

namespace kv::jinja {
namespace {

using Method = Value (*)(const Value& self, ArgumentReader& arguments);
using MethodTable = std::map<std::string, Method>;

Value list_of(std::vector<std::string> parts) {
  List items;
  for (std::string& part : parts) items.emplace_back(std::move(part));
  return Value::list(std::move(items));
}

template <bool left, bool right>
Value strip(const Value& self, ArgumentReader& arguments) {
  const Value* drop = arguments.next("chars");
  std::string_view text = self.string();
  if (drop != nullptr && drop->is_string())
    return std::string(strip_characters(text, drop->string(), left, right));
  if (left) text = strip_left(text);
  if (right) text = strip_right(text);
  return std::string(text);
}

template <bool from_right>
Value split(const Value& self, ArgumentReader& arguments) {
  const Value* separator = arguments.next("sep");
  const int64_t max_splits = arguments.integer("maxsplit", -1);
  if (separator != nullptr && separator->is_string()) {
    return list_of(from_right ? split_at_from_right(self.string(), separator->string(), max_splits)
                              : split_at(self.string(), separator->string(), max_splits));
  }
  return list_of(from_right ? split_space_from_right(self.string(), max_splits)
                            : split_space(self.string(), max_splits));
}

// str.startswith and str.endswith take one string or a tuple of them.
template <bool at_end>
Value has_affix(const Value& self, ArgumentReader& arguments) {
  const Value& affix = arguments.required(at_end ? "suffix" : "prefix");
  const List candidates = affix.is(Value::Type::kTuple) ? affix.items() : List{affix};
  for (const Value& candidate : candidates) {
    if (!candidate.is_string())
      fail("startswith/endswith: expected a string or a tuple of strings");
    const std::string& text = candidate.string();
    if (at_end ? self.string().ends_with(text) : self.string().starts_with(text)) return true;
  }
  return false;
}

template <bool at_end>
Value without_affix(const Value& self, ArgumentReader& arguments) {
  const std::string affix = arguments.required(at_end ? "suffix" : "prefix").str();
  const std::string& text = self.string();
  if (at_end ? !text.ends_with(affix) : !text.starts_with(affix)) return text;
  return at_end ? text.substr(0, text.size() - affix.size()) : text.substr(affix.size());
}

// In code points, -1 where absent.
int64_t find_part(const std::string& text, const std::string& part, bool from_right) {
  const size_t found = from_right ? rfind_text(text, part) : find_text(text, part);
  return found == std::string::npos ? -1 : length_of_text(std::string_view(text).substr(0, found));
}

Value find_left(const Value& self, ArgumentReader& arguments) {
  return find_part(self.string(), arguments.required("sub").str(), false);
}
Value find_right(const Value& self, ArgumentReader& arguments) {
  return find_part(self.string(), arguments.required("sub").str(), true);
}
template <bool from_right>
Value index_text(const Value& self, ArgumentReader& arguments) {
  const int64_t found = find_part(self.string(), arguments.required("sub").str(), from_right);
  if (found < 0) fail("index: substring not found");
  return found;
}

Value count_text(const Value& self, ArgumentReader& arguments) {
  const std::string part = arguments.required("sub").str();
  if (part.empty()) return length_of_text(self.string()) + 1;
  return static_cast<int64_t>(split_at(self.string(), part, -1).size()) - 1;
}

Value replace(const Value& self, ArgumentReader& arguments) {
  const Value& from = arguments.required("old");
  const Value& to = arguments.required("new");
  if (!from.is_string() || !to.is_string()) fail("replace: expected two strings");
  return replace_text(self.string(), from.string(), to.string(), arguments.integer("count", -1));
}

Value join(const Value& self, ArgumentReader& arguments) {
  TextBuilder out;
  bool first = true;
  for (const Value& item : iterate(arguments.required("iterable"))) {
    if (!item.is_string()) fail(fmt::format("join: expected strings, found {}", item.type_name()));
    if (!first) out += self.string();
    out += item.string();
    first = false;
  }
  return out.take();
}

// (before, separator, behind) around the first or last separator.
template <bool from_right>
Value partition(const Value& self, ArgumentReader& arguments) {
  const std::string separator = arguments.required("sep").str();
  if (separator.empty()) fail("partition: empty separator");
  const std::string& text = self.string();
  const size_t at = from_right ? rfind_text(text, separator) : find_text(text, separator);
  if (at == std::string::npos) {
    return from_right ? Value::tuple({Value(""), Value(""), self})
                      : Value::tuple({self, Value(""), Value("")});
  }
  return Value::tuple(
      {Value(text.substr(0, at)), Value(separator), Value(text.substr(at + separator.size()))});
}

template <bool to_right>
Value justified(const Value& self, ArgumentReader& arguments) {
  const int64_t width = std::min<int64_t>(arguments.integer("width", 0), 100000);
  const std::string fill = arguments.text("fillchar", " ");
  if (length_of_text(fill) != 1) fail("the fill character must be one character");
  std::string padding;
  for (int64_t n = length_of_text(self.string()); n < width; ++n) padding += fill;
  return to_right ? padding + self.string() : self.string() + padding;
}

Value centered(const Value& self, ArgumentReader& arguments) {
  const int64_t width = arguments.integer("width", 0);
  const std::string fill = arguments.text("fillchar", " ");
  if (length_of_text(fill) != 1) fail("the fill character must be one character");
  return center_text(self.string(), width, fill);
}

// Zeros in front, behind a sign.
Value with_zeros(const Value& self, ArgumentReader& arguments) {
  const std::string& text = self.string();
  const int64_t missing =
      std::min<int64_t>(arguments.integer("width", 0), 100000) - length_of_text(text);
  if (missing <= 0) return text;
  const size_t sign = text.starts_with('+') || text.starts_with('-') ? 1 : 0;
  return text.substr(0, sign) + std::string(static_cast<size_t>(missing), '0') + text.substr(sign);
}

template <typename Predicate>
Value all_characters(const Value& self, Predicate predicate) {
  const std::string& text = self.string();
  for (size_t at = 0; at < text.size();) {
    if (!predicate(next_code_point(text, at))) return false;
  }
  return !text.empty();
}

Value is_cased(const Value& self, bool upper) {
  const std::string& text = self.string();
  return (upper ? upper_case(text) : lower_case(text)) == text &&
         upper_case(text) != lower_case(text);
}

const MethodTable& string_methods() {
  static const MethodTable table = {
      {"strip", strip<true, true>},
      {"lstrip", strip<true, false>},
      {"rstrip", strip<false, true>},
      {"split", split<false>},
      {"rsplit", split<true>},
      {"splitlines",
       [](const Value& s, ArgumentReader& a) {
         return list_of(split_lines(s.string(), a.flag("keepends", false)));
       }},
      {"startswith", has_affix<false>},
      {"endswith", has_affix<true>},
      {"removeprefix", without_affix<false>},
      {"removesuffix", without_affix<true>},
      {"find", find_left},
      {"rfind", find_right},
      {"index", index_text<false>},
      {"rindex", index_text<true>},
      {"count", count_text},
      {"replace", replace},
      {"join", join},
      {"partition", partition<false>},
      {"rpartition", partition<true>},
      {"ljust", justified<false>},
      {"rjust", justified<true>},
      {"center", centered},
      {"zfill", with_zeros},
      {"format",
       [](const Value& s, ArgumentReader& a) -> Value {
         const List values = a.rest_of_positions();
         return format_braces(s.string(), values, a.rest_of_names());
       }},
      {"upper", [](const Value& s, ArgumentReader&) -> Value { return upper_case(s.string()); }},
      {"lower", [](const Value& s, ArgumentReader&) -> Value { return lower_case(s.string()); }},
      {"capitalize",
       [](const Value& s, ArgumentReader&) -> Value { return capitalize(s.string()); }},
      {"title", [](const Value& s, ArgumentReader&) -> Value { return title_letters(s.string()); }},
      {"isdigit",
       [](const Value& s, ArgumentReader&) {
         return all_characters(s, [](uint32_t c) { return is_numeric(c); });
       }},
      {"isspace",
       [](const Value& s, ArgumentReader&) {
         return all_characters(s, [](uint32_t c) { return is_python_space(c); });
       }},
      {"isupper", [](const Value& s, ArgumentReader&) { return is_cased(s, true); }},
      {"islower", [](const Value& s, ArgumentReader&) { return is_cased(s, false); }},
  };
  return table;
}

Value items(const Value& self, ArgumentReader&) {
  List pairs;
  for (const auto& [key, value] : self.entries().entries)
    pairs.push_back(Value::tuple({key, value}));
  return Value::list(std::move(pairs));
}

Value values(const Value& self, ArgumentReader&) {
  List out;
  for (const auto& entry : self.entries().entries) out.push_back(entry.second);
  return Value::list(std::move(out));
}

Value get(const Value& self, ArgumentReader& arguments) {
  const Value& key = arguments.required("key");
  const Value* fallback = arguments.next("default");
  if (const Value* found = self.entries().find(key)) return *found;
  return fallback == nullptr ? Value::none() : *fallback;
}

const MethodTable& dict_methods() {
  static const MethodTable table = {
      {"items", items},
      {"keys", [](const Value& s, ArgumentReader&) { return Value::list(iterate(s)); }},
      {"values", values},
      {"get", get},
      {"copy", [](const Value& s, ArgumentReader&) { return s; }},
  };
  return table;
}

const MethodTable& list_methods() {
  static const MethodTable table = {
      {"count",
       [](const Value& s, ArgumentReader& a) -> Value {
         const Value& wanted = a.required("value");
         return static_cast<int64_t>(
             std::count_if(s.items().begin(), s.items().end(),
                           [&](const Value& item) { return equal(item, wanted); }));
       }},
      {"index",
       [](const Value& s, ArgumentReader& a) -> Value {
         const Value& wanted = a.required("value");
         for (size_t i = 0; i < s.items().size(); ++i) {
           if (equal(s.items()[i], wanted)) return static_cast<int64_t>(i);
         }
         fail("index: the value is not in the list");
       }},
  };
  return table;
}

// Python has them, but templates run in an immutable sandbox.
bool changes_object(const Value& object, const std::string& name) {
  static const std::map<std::string, int> kNames = {
      {"append", 1}, {"extend", 1}, {"insert", 1}, {"remove", 1},  {"reverse", 1},   {"sort", 1},
      {"pop", 2},    {"clear", 2},  {"update", 3}, {"popitem", 3}, {"setdefault", 3}};
  const auto found = kNames.find(name);
  if (found == kNames.end() || object.is(Value::Type::kTuple)) return false;
  return found->second == 2 || (found->second == 1) == object.is_sequence();
}

}  // namespace

Value find_method(const Value& object, const std::string& name) {
  const MethodTable* table = object.is_string()     ? &string_methods()
                             : object.is_dict()     ? &dict_methods()
                             : object.is_sequence() ? &list_methods()
                                                    : nullptr;
  if (table == nullptr) return Value();
  const std::string what = fmt::format("{}.{}()", object.type_name(), name);
  if (!object.is_string() && changes_object(object, name)) {
    return Value::callable(name, [what](const Arguments&) -> Value {
      fail(what + ": templates cannot change lists and dicts; build a new one with + instead");
    });
  }
  const auto found = table->find(name);
  if (found == table->end()) return Value();
  const auto call = [object, what, method = found->second](const Arguments& arguments) {
    spend(object.size() / 16);
    ArgumentReader reader(arguments, what);
    Value result = method(object, reader);
    reader.done();
    return result;
  };
  return Value::callable(name, call, object);
}

}  // namespace kv::jinja
