// longctx_bench's evaluation files: LongBench's sets and the passkey grids.

#include <cmath>

#include "compress/spec.h"
#include "engine/error.h"
#include "runner/longctx_config.h"
#include "runner/longctx_fields.h"
#include "tasks/longbench_sets.h"
#include "tasks/passkey_text.h"

namespace kv {
namespace {

class TaskMap {
 public:
  TaskMap(const std::string& name, const std::string& place) {
    map_.kind = Value::Kind::kMap;
    map_.place = place;
    set("name", Value::of(name));
  }
  void set(const std::string& key, Value value) {
    value.place = map_.place + "." + key;
    map_.entries.emplace_back(key, std::move(value));
  }
  Value take() { return std::move(map_); }

 private:
  Value map_;
};

void check_metrics(LongctxFields& fields, const std::vector<std::string>& expected) {
  const Value& metrics = fields.at("eval_metrics");
  std::vector<std::string> found;
  for (const Value& metric : metrics.items) found.push_back(metric.text);
  if (found != expected) {
    throw_usage(
        "{}: expected [{}], found {}", metrics.place, fmt::join(expected, ", "),
        metrics.is_list() ? fmt::format("[{}]", fmt::join(found, ", ")) : metrics.describe());
  }
}

Value longbench_task(LongctxFields& fields, const LongBenchSet& set, const LongctxPrompts* prompts,
                     const std::string& data) {
  TaskMap task("longbench", fields.place());
  task.set("dataset", Value::of(set.name));
  task.set("data", Value::of(data.empty() ? fields.text("dataset_path") : data));
  fields.ignore({"dataset_path"});
  const std::string instruction = fields.text("instruction");
  if (instruction != set.prompt) task.set("prompt", Value::of(instruction));
  if (prompts != nullptr) {
    if (prompts->chat) task.set("chat", Value::of(*prompts->chat));
    task.set("truncate", Value::of(prompts->cuts_middle ? "middle" : "none"));
    if (prompts->max_length > 0) task.set("max_length", Value::of(double(prompts->max_length)));
  }
  const int max_new_tokens = fields.whole("max_new_tokens", 1);
  if (max_new_tokens != set.max_new_tokens)
    task.set("max_new_tokens", Value::of(double(max_new_tokens)));
  task.set("query_aware", Value::of(true));
  check_metrics(fields, {set.metric});
  return task.take();
}

// min + i (max - min) / (n - 1), truncated; both ends where n is 1 and they differ.
Value lengths_of(LongctxFields& fields) {
  const int least = fields.whole("background_len_min", 1);
  const int most = fields.whole("background_len_max", least);
  const int n = fields.whole("n_background_lens", 1);
  Value lengths;
  lengths.kind = Value::Kind::kList;
  const auto add = [&](double length) { lengths.items.push_back(Value::of(std::trunc(length))); };
  add(least);
  for (int i = 1; i + 1 < n; ++i) add(least + i * static_cast<double>(most - least) / (n - 1));
  if (most > least) add(most);
  return lengths;
}

Value passkey_task(LongctxFields& fields, const std::string& background) {
  TaskMap task("passkey", fields.place());
  task.set("lengths", lengths_of(fields));
  fields.expect("depth_min", Value::of(0.0), "depths go from the start to the end here");
  fields.expect("depth_max", Value::of(1.0), "depths go from the start to the end here");
  // Its single depth is two, the ends.
  task.set("depths", Value::of(double(std::max(2, fields.whole("n_depths", 1)))));
  task.set("repeats", Value::of(double(fields.whole("depth_num_iterations", 1))));
  task.set("digits", Value::of(double(fields.whole("retrieval_target_len", 1))));
  task.set("unit", Value::of("words"));
  task.set("data", Value::of(background.empty() ? fields.text("background_dir") : background));
  fields.ignore({"background_dir", "task_desc"});
  task.set("max_new_tokens", Value::of(double(fields.whole("max_new_tokens", 1))));
  task.set("query_aware", Value::of(true));
  const std::string same = "the task has one text";
  fields.expect("background_filling_style", Value::of("ordered_repetition"), same);
  fields.expect("instruction", Value::of(kPasskeyInstruction), same);
  fields.expect("retrieval_target_style", Value::of("int"), same);
  fields.expect("retrieval_target_placeholder", Value::of("<PASS KEY>"), same);
  fields.expect("retrieval_target_template", Value::of(passkey_needle("<PASS KEY>")), same);
  fields.expect("retrieval_target_wrapper", Value::of("naked"), same);
  fields.expect("retrieval_question", Value::of(kPasskeyQuestion), same);
  check_metrics(fields, {"exact_match", "partial_match"});
  return task.take();
}

}  // namespace

Value read_longctx_eval(const Value& file, const LongctxPrompts* prompts, const std::string& data,
                        const std::string& background) {
  LongctxFields fields(file, "eval_params");
  if (const Value* own = fields.find("kvengine_task")) {
    std::vector<Value> terms = parse_spec(fields.text("kvengine_task"), own->place);
    if (terms.size() == 1) return std::move(terms[0]);
    throw_usage("{}: expected one task, found {}", own->place, own->describe());
  }
  const std::string name = fields.text("dataset");
  const LongBenchSet* set = find_longbench_set(name);
  if (set == nullptr && name != "passkey_retrieval") {
    std::vector<std::string> names = {"passkey_retrieval"};
    for (const LongBenchSet& one : longbench_sets()) names.emplace_back(one.name);
    throw_usage("{}: unknown dataset '{}'{}; expected one of {}", fields.at("dataset").place, name,
                did_you_mean(name, names), fmt::join(names, ", "));
  }
  fields.expect("instruction_position", Value::of("prefix"), "prompts begin with it here");
  Value task = set != nullptr ? longbench_task(fields, *set, prompts, data)
                              : passkey_task(fields, background);
  fields.done();
  return task;
}

}  // namespace kv
