// The list of tasks. To add one: tasks/README.md.

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

}  // namespace

const std::vector<TaskInfo>& all_tasks() {
  static const std::vector<TaskInfo> tasks = {
      perplexity_task(),
      passkey_task(),
      code_exec_task(),
  };
  return tasks;
}

std::unique_ptr<Task> make_task(const Value& value, const std::string& base_folder) {
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
