#include "tasks/scorers/json_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace kv {
namespace {

constexpr std::array<std::string_view, 7> kTypes = {"null",   "boolean", "object", "array",
                                                    "number", "string",  "integer"};

constexpr std::array<std::string_view, 20> kRefused = {"$ref",
                                                       "$dynamicRef",
                                                       "$recursiveRef",
                                                       "pattern",
                                                       "patternProperties",
                                                       "propertyNames",
                                                       "prefixItems",
                                                       "additionalItems",
                                                       "contains",
                                                       "minContains",
                                                       "maxContains",
                                                       "if",
                                                       "then",
                                                       "else",
                                                       "dependencies",
                                                       "dependentRequired",
                                                       "dependentSchemas",
                                                       "unevaluatedItems",
                                                       "unevaluatedProperties",
                                                       "extends"};

constexpr std::array<std::string_view, 4> kBounds = {"minimum", "maximum", "exclusiveMinimum",
                                                     "exclusiveMaximum"};

constexpr std::array<std::string_view, 6> kCounts = {"minLength", "maxLength",     "minItems",
                                                     "maxItems",  "minProperties", "maxProperties"};

template <size_t N>
bool one_of(const std::array<std::string_view, N>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_bool(const PyJson& value) {
  return value.kind == PyJson::Kind::kBool;
}

bool is_type_name(const PyJson& value) {
  return value.is_string() && one_of(kTypes, value.text);
}

// What is wrong with the value of one keyword itself, not with the schemas inside of it.
std::string keyword_problem(const std::string& key, const PyJson& value) {
  const auto all_of = [&value](auto&& test) {
    return std::all_of(value.items.begin(), value.items.end(), test);
  };
  if (one_of(kRefused, key)) return "this keyword is not supported";
  if (key == "type" && !is_type_name(value) &&
      !(value.is_list() && !value.items.empty() && all_of(is_type_name))) {
    return fmt::format("expected one of {} or a list of them", fmt::join(kTypes, ", "));
  }
  if (key == "enum" && !value.is_list()) return "expected a list";
  if (key == "required" &&
      !(value.is_list() && all_of([](const PyJson& name) { return name.is_string(); }))) {
    return "expected a list of strings";
  }
  if (key == "properties" && !value.is_map()) return "expected a map";
  if (one_of(kBounds, key) && !value.is_number()) return "expected a number";
  if (key == "multipleOf" && !(value.is_number() && value.number > 0)) {
    return "expected a number above 0";
  }
  if (one_of(kCounts, key) && !(value.is_whole() && value.number >= 0)) {
    return "expected a whole number from 0";
  }
  if (key == "uniqueItems" && !is_bool(value)) return "expected true or false";
  if ((key == "allOf" || key == "anyOf" || key == "oneOf") &&
      !(value.is_list() && !value.items.empty())) {
    return "expected a list of schemas";
  }
  return "";
}

std::string problem_at(const PyJson& schema, const std::string& path) {
  if (is_bool(schema)) return "";
  if (!schema.is_map()) {
    return fmt::format("{}: expected a schema (a map), found {}", path, schema.type_name());
  }
  for (const auto& [key, value] : schema.entries) {
    const std::string place = path + "." + key;
    const std::string wrong = keyword_problem(key, value);
    if (!wrong.empty()) return place + ": " + wrong;
    std::string inner;
    if (key == "properties") {
      for (const auto& [name, entry] : value.entries) {
        inner = problem_at(entry, place + "." + name);
        if (!inner.empty()) return inner;
      }
    } else if (key == "allOf" || key == "anyOf" || key == "oneOf") {
      for (size_t i = 0; i < value.items.size(); ++i) {
        inner = problem_at(value.items[i], fmt::format("{}[{}]", place, i));
        if (!inner.empty()) return inner;
      }
    } else if (key == "items" || key == "additionalProperties" || key == "not") {
      inner = problem_at(value, place);
      if (!inner.empty()) return inner;
    }
  }
  return "";
}

bool has_type(const PyJson& value, const std::string& type) {
  if (type == "null") return value.kind == PyJson::Kind::kNull;
  if (type == "boolean") return is_bool(value);
  if (type == "object") return value.is_map();
  if (type == "array") return value.is_list();
  if (type == "string") return value.is_string();
  if (type == "number") return value.is_number();
  return value.is_whole();  // integer
}

double code_points(const std::string& text) {
  return static_cast<double>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

// `min` and `max` are keywords of schema that bound `value`, where they are given.
bool within(const PyJson& schema, const char* min, const char* max, double value) {
  const PyJson* low = schema.find(min);
  const PyJson* high = schema.find(max);
  return !(low != nullptr && value < low->number) && !(high != nullptr && value > high->number);
}

bool check_number(const PyJson& schema, double value) {
  if (!within(schema, "minimum", "maximum", value)) return false;
  const PyJson* above = schema.find("exclusiveMinimum");
  const PyJson* below = schema.find("exclusiveMaximum");
  if (above != nullptr && value <= above->number) return false;
  if (below != nullptr && value >= below->number) return false;
  const PyJson* step = schema.find("multipleOf");
  if (step == nullptr) return true;
  const double steps = value / step->number;
  return std::isfinite(steps) && steps == std::trunc(steps);
}

bool check_list(const PyJson& schema, const PyJson& list) {
  if (!within(schema, "minItems", "maxItems", static_cast<double>(list.items.size()))) return false;
  if (const PyJson* each = schema.find("items")) {
    for (const PyJson& item : list.items) {
      if (!schema_valid(*each, item)) return false;
    }
  }
  const PyJson* unique = schema.find("uniqueItems");
  if (unique == nullptr || !unique->boolean) return true;
  for (size_t i = 0; i < list.items.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (schema_equal(list.items[i], list.items[j])) return false;
    }
  }
  return true;
}

bool check_map(const PyJson& schema, const PyJson& map) {
  const double size = static_cast<double>(map.entries.size());
  if (!within(schema, "minProperties", "maxProperties", size)) return false;
  if (const PyJson* required = schema.find("required")) {
    for (const PyJson& name : required->items) {
      if (map.find(name.text) == nullptr) return false;
    }
  }
  const PyJson* properties = schema.find("properties");
  const PyJson* others = schema.find("additionalProperties");
  for (const auto& [name, value] : map.entries) {
    const PyJson* known = properties != nullptr ? properties->find(name) : nullptr;
    const PyJson* rule = known != nullptr ? known : others;
    if (rule != nullptr && !schema_valid(*rule, value)) return false;
  }
  return true;
}

bool check_values(const PyJson& schema, const PyJson& instance) {
  const auto same = [&](const PyJson& value) { return schema_equal(value, instance); };
  const PyJson* choices = schema.find("enum");
  if (choices != nullptr && std::none_of(choices->items.begin(), choices->items.end(), same)) {
    return false;
  }
  const PyJson* constant = schema.find("const");
  if (constant != nullptr && !same(*constant)) return false;
  const PyJson* type = schema.find("type");
  if (type == nullptr) return true;
  if (type->is_string()) return has_type(instance, type->text);
  return std::any_of(type->items.begin(), type->items.end(),
                     [&](const PyJson& name) { return has_type(instance, name.text); });
}

bool check_combined(const PyJson& schema, const PyJson& instance) {
  const auto matches = [&](const PyJson* list) {
    return std::count_if(list->items.begin(), list->items.end(),
                         [&](const PyJson& part) { return schema_valid(part, instance); });
  };
  const PyJson* all = schema.find("allOf");
  const PyJson* any = schema.find("anyOf");
  const PyJson* one = schema.find("oneOf");
  const PyJson* no = schema.find("not");
  if (all != nullptr && matches(all) != static_cast<long>(all->items.size())) return false;
  if (any != nullptr && matches(any) == 0) return false;
  if (one != nullptr && matches(one) != 1) return false;
  return no == nullptr || !schema_valid(*no, instance);
}

}  // namespace

std::string schema_problem(const PyJson& schema) {
  return problem_at(schema, "schema");
}

bool schema_valid(const PyJson& schema, const PyJson& instance) {
  if (is_bool(schema)) return schema.boolean;
  if (!check_values(schema, instance) || !check_combined(schema, instance)) return false;
  if (instance.is_number()) return check_number(schema, instance.number);
  if (instance.is_string()) {
    return within(schema, "minLength", "maxLength", code_points(instance.text));
  }
  if (instance.is_list()) return check_list(schema, instance);
  return !instance.is_map() || check_map(schema, instance);
}

}  // namespace kv
