// The list of tasks. To add one: tasks/README.md.

#include <algorithm>
#include <iterator>
#include <utility>

#include "tasks/factories.h"
#include "tasks/task.h"

namespace kv {
namespace {

const TaskInfo& find_task(const std::string& name, const std::string& place) {
  std::vector<std::string> names;
  std::string list;
  for (const TaskInfo& info : all_tasks()) {
    if (info.name == name) return info;
    names.push_back(info.name);
    list += (list.empty() ? "" : ", ") + info.name;
  }
  throw_usage("{}: unknown task '{}'{} (this build has: {})", place, name,
              did_you_mean(name, names), list);
}

// kv-canary's names of tasks: ours with its protocol.
struct Alias {
  const char* name;
  const char* task;
};
constexpr Alias kCanaryNames[] = {
    {"tool", "tool_call"},
    {"code", "code_exec"},
};

constexpr const char* kCompare = "compare";
constexpr const char* kQueryAware = "query_aware";
constexpr const char* kMaxContextLength = "max_context_length";

bool is_on(const Params& params, const char* key) {
  return !params.is_null(key) && params.boolean(key);
}

// What every task that generates takes besides its own parameters.
TaskInfo with_common(TaskInfo info) {
  if (!info.generates) return info;
  info.params.push_back({.name = kCompare,
                         .type = ParamSpec::Type::kBool,
                         .default_text = "null",
                         .doc =
                             "true: also KL divergence (kld, nats per token) and top-1 agreement "
                             "(top1_agreement) along the full cache's answer"});
  info.params.push_back({.name = kQueryAware,
                         .type = ParamSpec::Type::kBool,
                         .default_text = "null",
                         .doc = "true: the question stands at the end of what is compressed"});
  info.params.push_back({.name = kMaxContextLength,
                         .type = ParamSpec::Type::kInteger,
                         .default_text = "null",
                         .doc = "read only the first so many tokens of a context; else all of it",
                         .min = 1,
                         .max = 1 << 24});
  info.make = [make = std::move(info.make)](const Params& params, const std::string& base_folder) {
    std::unique_ptr<Task> task = make(params, base_folder);
    task->set_compares(is_on(params, kCompare));
    task->set_query_aware(is_on(params, kQueryAware));
    if (!params.is_null(kMaxContextLength))
      task->set_max_context_length(params.integer(kMaxContextLength));
    return task;
  };
  return info;
}

// `compare: false` is what a task does without it, and must not look like another task; likewise
// `query_aware: false`.
Value without_false(Value value) {
  std::erase_if(value.entries, [](const auto& entry) {
    return (entry.first == kCompare || entry.first == kQueryAware) &&
           entry.second.kind == Value::Kind::kBool && !entry.second.boolean;
  });
  return value;
}

// `value` as it would be without kv-canary's short names.
Value spell_out(const Value& value) {
  const Value* name = value.is_map() ? value.find("name") : &value;
  if (name == nullptr || !name->is_string()) return value;
  const auto* alias = std::find_if(std::begin(kCanaryNames), std::end(kCanaryNames),
                                   [&](const Alias& one) { return name->text == one.name; });
  if (alias == std::end(kCanaryNames)) return value;
  Value result = value;
  if (!value.is_map()) {
    result = Value();
    result.kind = Value::Kind::kMap;
    result.place = value.place;
    result.entries.emplace_back("name", *name);
  }
  for (auto& [key, entry] : result.entries) {
    if (key == "name") entry.text = alias->task;
    if (key == "protocol") {
      throw_usage("{}: '{}' is kv-canary's name and takes no protocol; write {}", entry.place,
                  alias->name, alias->task);
    }
  }
  Value protocol = Value::of("kv-canary");
  protocol.place = result.place;
  result.entries.emplace_back("protocol", std::move(protocol));
  return result;
}

}  // namespace

const std::vector<TaskInfo>& all_tasks() {
  static const std::vector<TaskInfo> tasks = {
      with_common(perplexity_task()),   with_common(passkey_task()),
      with_common(tool_call_task()),    with_common(code_exec_task()),
      with_common(long_output_task()),  with_common(continuation_task()),
      with_common(needles_task()),      with_common(variable_tracking_task()),
      with_common(common_words_task()), with_common(frequent_words_task()),
      with_common(fact_qa_task()),      with_common(longbench_task()),
  };
  return tasks;
}

std::vector<Value> split_task(const Value& value, const std::string& base_folder) {
  const Value* name = value.is_map() ? value.find("name") : &value;
  for (const TaskInfo& info : all_tasks()) {
    if (info.split && name != nullptr && name->is_string() && name->text == info.name)
      return info.split(value, base_folder);
  }
  return {value};  // what is no task is an error of make_task
}

std::unique_ptr<Task> make_task(const Value& written, const std::string& base_folder) {
  const Value value = without_false(spell_out(written));
  if (value.is_string()) {
    const TaskInfo& info = find_task(value.text, value.place);
    Value none;
    none.place = value.place;
    return info.make(Params::read(none, info.params, "task '" + info.name + "'"), base_folder);
  }
  const Value* name = value.is_map() ? value.find("name") : nullptr;
  if (!name || !name->is_string()) {
    throw_usage("{}: expected a task's name or {{name: ..., parameters}}, found {}", value.place,
                value.is_map() ? "a map without a name" : value.describe());
  }
  const TaskInfo& info = find_task(name->text, name->place.empty() ? value.place : name->place);
  return info.make(Params::read(value, info.params, "task '" + info.name + "'", {"name"}),
                   base_folder);
}

}  // namespace kv
