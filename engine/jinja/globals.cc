// Global functions.
#include <fmt/format.h>

#include <ctime>
#include <utility>

#include "engine/jinja/builtins.h"

namespace kv::jinja {
namespace {

Value range(const Arguments& arguments) {
  ArgumentReader reader(arguments, "range");
  int64_t begin = 0;
  int64_t end = reader.integer("stop", 0);
  if (arguments.positional.size() > 1) {
    begin = end;
    end = reader.integer("stop", 0);
  }
  const int64_t step = reader.integer("step", 1);
  reader.done();
  if (step == 0) fail("range: the step is 0");
  constexpr size_t kLongest = 100000;  // as Jinja's sandbox
  List items;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (items.size() == kLongest) fail(fmt::format("range: longer than {}", kLongest));
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value::list(std::move(items));
}

// dict(a=1), dict(other, a=1); namespace() takes the same.
Dict read_entries(const Arguments& arguments) {
  Dict entries;
  for (const Value& source : arguments.positional) {
    if (!source.is_dict())
      fail(fmt::format("dict or namespace: expected a dict, found {}", source.type_name()));
    for (const auto& [key, value] : source.entries().entries) entries.set(key, value);
  }
  for (const auto& [name, value] : arguments.named) entries.set(Value(name), value);
  return entries;
}

// joiner(", ")() is nothing at first and ", " from then on.
Value joiner(const Arguments& arguments) {
  ArgumentReader reader(arguments, "joiner");
  const std::string separator = reader.text("sep", ", ");
  reader.done();
  return Value::callable("joiner", [separator, used = false](const Arguments&) mutable -> Value {
    return std::exchange(used, true) ? separator : "";
  });
}

Value raise_exception(const Arguments& arguments) {
  ArgumentReader reader(arguments, "raise_exception");
  const std::string message = reader.required("message").str();
  fail("the template refuses its input: " + message);
}

Value strftime_now(const Arguments& arguments) {
  ArgumentReader reader(arguments, "strftime_now");
  const std::string format = reader.required("format").str();
  reader.done();
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::string text(512, '\0');
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &local));
  return text;
}

}  // namespace

std::map<std::string, Value> global_functions() {
  std::map<std::string, Value> functions;
  const auto add = [&](const char* name, std::function<Value(const Arguments&)> call) {
    functions[name] = Value::callable(name, std::move(call));
  };
  add("range", range);
  add("dict", [](const Arguments& arguments) { return Value::dict(read_entries(arguments)); });
  add("namespace",
      [](const Arguments& arguments) { return Value::name_space(read_entries(arguments)); });
  add("joiner", joiner);
  add("raise_exception", raise_exception);
  add("strftime_now", strftime_now);
  return functions;
}

}  // namespace kv::jinja
