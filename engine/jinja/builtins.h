// What the template language knows by itself: filters, tests, methods of values and global
// functions. All of them behave as Python's and Jinja's; what they do not know is a TemplateError
// that names it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/jinja/value.h"

namespace kv::jinja {

// value | name(arguments)
Value apply_filter(const std::string& name, const Value& input, const Arguments& arguments);
bool has_filter(const std::string& name);
// value is name(arguments)
bool apply_test(const std::string& name, const Value& input, const Arguments& arguments);

// A method of a string, list or dict, bound to it; undefined where it has none of this name.
Value find_method(const Value& object, const std::string& name);

// range, namespace, dict, joiner, raise_exception, strftime_now.
std::map<std::string, Value> global_functions();

// object[key], object.name: undefined where it is absent.
Value get_item(const Value& object, const Value& key);
Value get_attribute(const Value& object, const std::string& name);
// "a.b.0" of `map(attribute=…)` and its relatives.
Value get_path(const Value& object, const std::string& path);

bool contains(const Value& haystack, const Value& needle);

// Reads the arguments of a builtin by position or name and says which are too many.
class ArgumentReader {
 public:
  ArgumentReader(const Arguments& arguments, std::string what)
      : arguments_(arguments), what_(std::move(what)) {}
  // The next argument, also known by this name; null where it was not given.
  const Value* next(const char* name);
  const Value* next_named(const char* name);  // one that can only be given by name
  const Value& required(const char* name);
  std::string text(const char* name, const std::string& fallback);
  int64_t integer(const char* name, int64_t fallback);
  bool flag(const char* name, bool fallback);
  // All that are left, which are then read.
  List rest_of_positions();
  Dict rest_of_names();
  void done() const;  // an error where arguments are left over

 private:
  const Arguments& arguments_;
  std::string what_;  // "filter 'join'"
  size_t position_ = 0;
  std::vector<const Value*> read_by_name_;
};

}  // namespace kv::jinja
