#include "runner/config.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/error.h"
#include "engine/mapped_file.h"
#include "runner/longctx_config.h"
#include "runner/resolve_model.h"
#include "runner/run_options.h"
#include "runner/value_io.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kTopLevelKeys = {"models", "compressors", "tasks",
                                                "run",    "limits",      "longctx_bench"};

void check_top_level(const Value& root, const std::string& file) {
  if (root.is_null())
    throw_usage("{}: is empty; expected a map with models, compressors and tasks", file);
  if (!root.is_map()) {
    throw_usage("{}: expected a map with models, compressors and tasks, found {}", root.place,
                root.describe());
  }
  for (const auto& [key, value] : root.entries) {
    if (std::find(kTopLevelKeys.begin(), kTopLevelKeys.end(), key) == kTopLevelKeys.end()) {
      throw_usage("{}: unknown key{}; known keys: {}", value.place,
                  did_you_mean(key, kTopLevelKeys), fmt::join(kTopLevelKeys, ", "));
    }
  }
}

// The items under a key; a single value is a list of one. Empty where the key is absent.
std::vector<Value> list_of(const Value& root, const std::string& key) {
  const Value* value = root.find(key);
  if (value == nullptr || value->is_null()) return {};
  if (value->is_list()) return value->items;
  return {*value};
}

// Puts more items behind those under a key.
void append_to(Value& root, const std::string& key, const std::vector<Value>& more) {
  if (more.empty()) return;
  Value list;
  list.kind = Value::Kind::kList;
  list.place = more[0].place;
  list.items = list_of(root, key);
  list.items.insert(list.items.end(), more.begin(), more.end());
  std::erase_if(root.entries, [&](const auto& entry) { return entry.first == key; });
  root.entries.emplace_back(key, std::move(list));
}

// What longctx_bench's files say goes into the other lists; the model only where none is listed.
// Answers with the pipelines whose model is taken.
std::vector<LongctxPipeline> take_longctx(Value& root, const fs::path& file,
                                          const RunFlags& flags) {
  const Value* map = root.find("longctx_bench");
  if (map == nullptr || map->is_null()) return {};
  LongctxEntries entries = read_longctx(*map, file.parent_path());
  append_to(root, "compressors", entries.compressors);
  append_to(root, "tasks", entries.tasks);
  const bool own_model = flags.models.empty() && list_of(root, "models").empty();
  if (!own_model || entries.model.is_null()) return {};
  append_to(root, "models", {entries.model});
  return std::move(entries.pipelines);
}

std::vector<ModelEntry> read_models(const Value& root, const fs::path& file,
                                    const RunFlags& flags) {
  std::vector<ModelEntry> models;
  const auto add = [&](const std::string& name, const fs::path& base, const std::string& place) {
    for (const ModelEntry& known : models) {
      if (known.name == name)
        throw_usage("{}: model '{}' is listed twice; remove one of the two", place, name);
    }
    const NamedModel named = read_model_name(name, place);
    try {
      models.push_back({name, resolve_model(named.name, base), named.rope_theta_factor});
    } catch (const Error& e) {
      throw Error(e.kind(), place + ": " + e.what());
    }
  };
  for (const std::string& name : flags.models) add(name, fs::current_path(), "--model");
  if (!flags.models.empty()) return models;
  for (const Value& item : list_of(root, "models")) {
    if (!item.is_string() || item.text.empty()) {
      throw_usage("{}: expected a model (a folder, a .gguf file, a name or a hub id), found {}",
                  item.place, item.describe());
    }
    add(item.text, file.parent_path(), item.place);
  }
  if (models.empty()) {
    throw_usage("{}: no models; list at least one under 'models' or give --model",
                file.filename().string());
  }
  return models;
}

std::vector<CompressorSpec> read_specs(const Value& root, const fs::path& file,
                                       const RunFlags& flags) {
  std::vector<CompressorSpec> specs;
  const auto append = [&specs](std::vector<CompressorSpec> more) {
    for (CompressorSpec& spec : more) specs.push_back(std::move(spec));
  };
  for (const std::string& text : flags.compressors) {
    append(parse_compressors(text, "--compressor", fs::current_path().string()));
  }
  if (!flags.compressors.empty()) return specs;
  for (const Value& item : list_of(root, "compressors")) {
    append(read_compressors(item, file.parent_path().string()));
  }
  return specs;
}

// The full cache first, every canonical form once.
std::vector<CompressorSpec> with_baseline(std::vector<CompressorSpec> specs,
                                          const std::string& file,
                                          std::vector<std::string>& notes) {
  std::vector<CompressorSpec> result = parse_compressors("none", file);
  std::set<std::string> seen;
  bool has_none = false;
  for (CompressorSpec& spec : specs) {
    if (spec.is_none()) {
      has_none = true;
    } else if (!seen.insert(spec.canonical).second) {
      notes.push_back(fmt::format("{}: compressor '{}' is listed more than once; it runs once",
                                  file, spec.canonical));
    } else {
      result.push_back(std::move(spec));
    }
  }
  if (!has_none)
    notes.push_back(fmt::format("{}: added the full cache (none), the baseline", file));
  return result;
}

std::string task_name(const Value& value) {
  if (value.is_string()) return value.text;
  const Value* name = value.is_map() ? value.find("name") : nullptr;
  return name != nullptr && name->is_string() ? name->text : "";
}

// Nothing that a model wrote runs unless the user said so, here and now.
void allow_code(Task& task, const std::string& place, const RunFlags& flags,
                const std::string& sandbox) {
  const char* variable = std::getenv("KVENGINE_ALLOW_CODE_EXECUTION");
  if (!flags.allow_code_execution && (variable == nullptr || std::string(variable) != "1")) {
    throw_usage(
        "{}: task '{}' runs programs that a model wrote, which is off; allow it with "
        "--allow-code-execution or KVENGINE_ALLOW_CODE_EXECUTION=1",
        place, task.name());
  }
  try {
    task.allow_code(sandbox);
  } catch (const Error& e) {
    throw Error(e.kind(), place + ": " + e.what());
  }
}

// Takes `if_allowed` out of a task's map: whether it is left out where its programs may not run.
bool take_if_allowed(Value& item) {
  const Value* value = item.is_map() ? item.find("if_allowed") : nullptr;
  if (value == nullptr) return false;
  if (value->kind != Value::Kind::kBool) {
    throw_usage("{}: 'if_allowed' must be true or false, found {}", value->place,
                value->describe());
  }
  const bool wanted = value->boolean;
  std::erase_if(item.entries, [](const auto& entry) { return entry.first == "if_allowed"; });
  return wanted;
}

std::vector<TaskEntry> read_tasks(const Value& root, const fs::path& file, const RunFlags& flags,
                                  const std::string& sandbox, std::vector<std::string>& notes) {
  const std::string base = file.parent_path().string();
  const std::vector<Value> listed = list_of(root, "tasks");
  std::vector<Value> chosen;
  for (const std::string& wanted : flags.tasks) {
    const size_t before = chosen.size();
    for (const Value& item : listed) {
      if (task_name(item) == wanted) chosen.push_back(item);
    }
    if (chosen.size() == before) {
      chosen.push_back(Value::of(wanted));
      chosen.back().place = "--task";
    }
  }
  if (flags.tasks.empty()) chosen = listed;
  std::vector<Value> items;
  for (const Value& entry : chosen) {
    for (Value& item : split_task(entry, base)) items.push_back(std::move(item));
  }
  std::vector<TaskEntry> tasks;
  std::map<std::string, std::string> place_of;
  for (Value& item : items) {
    const bool if_allowed = take_if_allowed(item);
    std::unique_ptr<Task> task = make_task(item, base);
    if (task->runs_code()) {
      try {
        allow_code(*task, item.place, flags, sandbox);
      } catch (const Error& e) {
        if (!if_allowed) throw;
        notes.push_back(fmt::format("left out: {}", e.what()));
        continue;
      }
    } else if (if_allowed) {
      throw_usage("{}: 'if_allowed' is for tasks that run programs; '{}' runs none", item.place,
                  task->name());
    }
    TaskEntry entry{std::move(task), item, -1};
    const auto [known, is_new] = place_of.emplace(entry.task->canonical(), item.place);
    if (!is_new) {
      throw_usage("{}: the same task as at {}; remove one of the two", item.place, known->second);
    }
    tasks.push_back(std::move(entry));
  }
  if (tasks.empty()) {
    throw_usage("{}: no tasks; list at least one under 'tasks' or give --task",
                file.filename().string());
  }
  return tasks;
}

// kv-canary's key: it limits answers, not samples.
constexpr const char* kAnswerLimit = "max_new_tokens";

int read_answer_limit(const Value& value) {
  if (!value.is_integer() || value.number < 1 || value.number > 1 << 20) {
    throw_usage("{}: expected tokens of an answer from 1, found {}", value.place, value.describe());
  }
  return static_cast<int>(value.number);
}

// --max-new-tokens, else limits.max_new_tokens: also where a task or its data say otherwise.
void read_answer_limits(const Value& root, const RunFlags& flags, RunOptions& run) {
  const Value* limits = root.find("limits");
  const Value* value = limits != nullptr && limits->is_map() ? limits->find(kAnswerLimit) : nullptr;
  if (value != nullptr) run.max_new_tokens = read_answer_limit(*value);
  if (flags.max_new_tokens) run.max_new_tokens = *flags.max_new_tokens;
  run.same_max_new_tokens = value != nullptr || flags.max_new_tokens.has_value();
}

// As the config writes them, and as this program calls them.
std::vector<std::string> known_task_names(const Value& root, const std::vector<TaskEntry>& tasks) {
  std::vector<std::string> names;
  for (const Value& item : list_of(root, "tasks")) names.push_back(task_name(item));
  for (const TaskEntry& entry : tasks) names.push_back(entry.task->name());
  return names;
}

void read_limits(const Value& root, const RunFlags& flags, std::vector<TaskEntry>& tasks) {
  const Value* limits = root.find("limits");
  if (limits != nullptr && !limits->is_null()) {
    if (!limits->is_map()) {
      throw_usage("{}: expected a map from task to samples, found {}", limits->place,
                  limits->describe());
    }
    const std::vector<std::string> listed = known_task_names(root, tasks);
    for (const auto& [name, value] : limits->entries) {
      if (name == kAnswerLimit) continue;
      if (std::find(listed.begin(), listed.end(), name) == listed.end()) {
        throw_usage("{}: no such task in this config{}", value.place, did_you_mean(name, listed));
      }
      if (!value.is_integer() || value.number < 1 || value.number > 1e9) {
        throw_usage("{}: expected a number of samples from 1, found {}", value.place,
                    value.describe());
      }
      for (TaskEntry& entry : tasks) {
        const std::string written = task_name(entry.source);  // `tool` has a limit of its own
        if (written == name || (entry.task->name() == name && !limits->find(written))) {
          entry.limit = static_cast<int>(value.number);
        }
      }
    }
  }
  if (!flags.limit) return;
  if (*flags.limit < 1)
    throw_usage("--limit: expected a number of samples from 1, found {}", *flags.limit);
  for (TaskEntry& entry : tasks) entry.limit = *flags.limit;
}

void set_number(Value& root, const char* assignment_path, std::optional<int> number,
                const char* flag) {
  if (!number) return;
  apply_set(root, fmt::format("{}={}", assignment_path, *number));
  // The message about a bad number should name the flag, not what it was turned into.
  for (auto& [key, value] : root.entries) {
    if (key != "run") continue;
    for (auto& [name, entry] : value.entries) {
      if (std::string("run.") + name == assignment_path) entry.place = flag;
    }
  }
}

// A name that no task has would leave everything unmeasured. Tasks that --task leaves out are known.
void check_timed_tasks(const TimingOptions& timing, const Value& root,
                       const std::vector<TaskEntry>& tasks, const std::string& file) {
  const std::vector<std::string> names = known_task_names(root, tasks);
  for (const std::string& name : timing.tasks) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    throw_usage("{}: run.timing.tasks: no task '{}' in this config{}", file, name,
                did_you_mean(name, names));
  }
}

nlohmann::ordered_json timing_json(const TimingOptions& timing) {
  if (!timing.on) return false;
  nlohmann::ordered_json json = {{"warmup", timing.warmup}, {"repetitions", timing.repetitions}};
  if (!timing.tasks.empty()) json["tasks"] = timing.tasks;
  json["samples"] = timing.samples;
  return json;
}

}  // namespace

Shard parse_shard(const std::string& text) {
  Shard shard;
  const size_t slash = text.find('/');
  const auto read = [&](size_t begin, size_t end, int& out) {
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, out);
    return error == std::errc() && stop == text.data() + end && begin < end;
  };
  if (slash == std::string::npos || !read(0, slash, shard.index) ||
      !read(slash + 1, text.size(), shard.count) || shard.count < 1 || shard.index < 0 ||
      shard.index >= shard.count) {
    throw_usage("--shard: expected I/N with 0 <= I < N, such as 0/4, found '{}'", text);
  }
  return shard;
}

RunConfig parse_config(const std::string& text, const fs::path& file, const RunFlags& flags) {
  const std::string shown = file.filename().string();
  Value root = parse_yaml(text, shown);
  check_top_level(root, shown);
  for (const std::string& assignment : flags.sets) apply_set(root, assignment);
  set_number(root, "run.threads", flags.threads, "--threads");
  set_number(root, "run.max_new_tokens", flags.max_new_tokens, "--max-new-tokens");
  check_top_level(root, shown);

  const std::vector<LongctxPipeline> pipelines = take_longctx(root, file, flags);

  RunConfig config;
  config.file = file;
  const Value* run = root.find("run");
  config.run = read_run_options(run == nullptr ? Value{} : *run, file);
  read_answer_limits(root, flags, config.run);
  if (!flags.out.empty()) config.run.out = fs::absolute(flags.out).lexically_normal();
  if (!flags.shard.empty()) config.shard = parse_shard(flags.shard);
  config.compressors = with_baseline(read_specs(root, file, flags), shown, config.notes);
  config.tasks = read_tasks(root, file, flags, config.run.sandbox, config.notes);
  read_limits(root, flags, config.tasks);
  check_timed_tasks(config.run.timing, root, config.tasks, shown);
  config.models = read_models(root, file, flags);
  if (!pipelines.empty()) check_longctx_rope(pipelines, config.models[0].location);
  return config;
}

RunConfig load_config(const RunFlags& flags) {
  const fs::path file = fs::absolute(flags.config).lexically_normal();
  if (!fs::exists(file)) {
    throw_usage("{}: no such config file; expected the path of a YAML file", flags.config);
  }
  return parse_config(read_whole_file(file), file, flags);
}

nlohmann::ordered_json resolved_config_json(const RunConfig& config) {
  nlohmann::ordered_json json;
  json["models"] = nlohmann::ordered_json::array();
  for (const ModelEntry& model : config.models) json["models"].push_back(model.name);
  json["compressors"] = nlohmann::ordered_json::array();
  for (const CompressorSpec& spec : config.compressors)
    json["compressors"].push_back(spec.canonical);
  json["tasks"] = nlohmann::ordered_json::array();
  nlohmann::ordered_json limits = nlohmann::ordered_json::object();
  for (const TaskEntry& entry : config.tasks) {
    json["tasks"].push_back(to_json(entry.source));
    if (entry.limit >= 0) limits[entry.task->name()] = entry.limit;
  }
  const RunOptions& run = config.run;
  if (run.same_max_new_tokens) limits[kAnswerLimit] = run.max_new_tokens;
  json["run"] = {
      {"threads", run.threads},
      {"kv_dtype", run.kv_dtype},
      {"weights", run.weights},
      {"gemm", run.gemm},
      {"prefill_chunk", run.prefill_chunk},
      {"batch", run.batch},
      {"memory", run.memory_bytes > 0 ? nlohmann::ordered_json(run.memory_bytes) : nullptr},
      {"timing", timing_json(run.timing)},
      {"max_new_tokens", run.max_new_tokens},
      {"seed", run.seed},
      {"out", run.out.string()},
      {"sandbox", run.sandbox}};
  json["limits"] = limits;
  return json;
}

}  // namespace kv
