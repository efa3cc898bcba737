// kvengine score: the scores of an already answered six-column file, for each of its tasks.
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "runner/verbs.h"
#include "tasks/aggregate.h"
#include "tasks/gold_calls.h"

namespace kv {
namespace {

// Four decimals as kv-exec-bench prints them, correctly rounded.
double rounded(double value) {
  return std::stod(fmt::format("{:.4f}", value));
}

nlohmann::ordered_json scores_json(const AnsweredTask& task) {
  const auto aggregates = aggregate_scores("tool_call()", task.scores);
  nlohmann::ordered_json json, intervals;
  json["n"] = task.scores.size();
  for (const MetricInfo& metric : task.metrics) {
    const Aggregate& aggregate = aggregates.at(metric.name);
    json[metric.name] = rounded(aggregate.value);
    intervals[metric.name] = {rounded(aggregate.ci_low), rounded(aggregate.ci_high)};
  }
  json["ci95"] = intervals;
  return json;
}

}  // namespace

int verb_score(const std::string& file) {
  if (!std::filesystem::exists(file)) {
    throw_data("{}: no such file; expected rows with answer, task and predicted_answer", file);
  }
  nlohmann::ordered_json json;
  for (const AnsweredTask& task : score_answered_file(file)) json[task.task] = scores_json(task);
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  return 0;
}

}  // namespace kv
