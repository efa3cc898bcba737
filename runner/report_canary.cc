// kv-canary's RESULTS.md, figure and samples file.

#include <fmt/format.h>

#include <cctype>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "runner/report_export.h"
#include "runner/sds.h"

namespace kv {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Named {
  std::string method;
  double budget = 1;
  bool operator<(const Named& other) const {
    return std::tie(method, budget) < std::tie(other.method, other.budget);
  }
};

// Bits of a codec by its name: int4, kivi2; 16 for all others.
double bits_of(const std::string& name) {
  const size_t digits = name.find_last_not_of("0123456789") + 1;
  return digits == name.size() || digits == 0 ? 16 : std::stod(name.substr(digits));
}

// Its name of our compressor, and the share of memory that it keeps by its way of counting:
// without scales and positions.
Named canary_name(const SampleRecord& record) {
  if (record.spec == "none") return {"full", 1};
  const std::string& name = record.method;
  if (name == "streamingllm" || name == "canary_streamingllm") {
    return {"streamingllm", record.budget};
  }
  if (name == "snapkv" || name == "canary_snapkv") return {"snapkv", record.budget};
  const std::string codec = name.substr(name.rfind('+') + 1);  // all of it where there is no +
  const double share = bits_of(codec) / 16;
  if (name.rfind("absmax", 0) == 0 || name.rfind("int", 0) == 0) return {"quantized", share};
  return {name, record.budget * share};
}

// Two of our methods that share one of its names keep their own, so that no mean mixes them.
class Names {
 public:
  explicit Names(const std::vector<SampleRecord>& records) {
    for (const SampleRecord& record : records) {
      specs_[canary_name(record)].insert(record.spec);
      methods_[{record.method, record.budget}].insert(record.spec);
    }
  }
  Named of(const SampleRecord& record) const {
    Named name = canary_name(record);
    if (specs_.at(name).size() == 1) return name;
    const bool enough = methods_.at({record.method, record.budget}).size() == 1;
    name.method = enough ? record.method : record.spec;
    return name;
  }

 private:
  std::map<Named, std::set<std::string>> specs_, methods_;
};

std::string canary_task(const std::string& task) {
  if (task == "tool_call") return "tool";
  if (task == "code_exec") return "code";
  return task == "perplexity" ? task : "";
}

// Scores under its names; what it does not have is left out.
std::map<std::string, double> canary_scores(const std::map<std::string, double>& scores) {
  static constexpr std::pair<const char*, const char*> kNames[] = {
      {"ppl", "perplexity"},          {"pass@1", "pass@1"},
      {"json_valid", "json_valid"},   {"func_correct", "func_correct"},
      {"name_match", "func_correct"}, {"arg_match", "arg_match"},
      {"args_exact", "arg_match"}};
  std::map<std::string, double> result;
  for (const auto& [ours, theirs] : kNames) {
    const auto value = scores.find(ours);
    if (value != scores.end()) result.emplace(theirs, value->second);  // the first one stays
  }
  return result;
}

std::string float_text(double value) {
  const std::string text = number_text(value);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

const CanarySummary* full_cache(const std::vector<CanarySummary>& summary) {
  for (const CanarySummary& row : summary) {
    if (row.method == "full" && row.budget == 1) return &row;
  }
  return nullptr;
}

std::string fixed(double value, int digits) {
  return std::isnan(value) ? "-" : fmt::format("{:.{}f}", value, digits);
}

Json latency_of(const SampleRecord& record) {
  if (!record.prefill_ms) return nullptr;
  return (*record.prefill_ms + record.compress_ms.value_or(0) + record.decode_ms.value_or(0)) /
         1000;
}

}  // namespace

std::vector<CanaryRow> canary_samples(const std::vector<SampleRecord>& records) {
  const Names names(records);
  std::vector<CanaryRow> rows;
  for (const SampleRecord& record : records) {
    const std::string task = canary_task(record.task);
    if (task.empty() || !record.error.empty()) continue;
    const Named name = names.of(record);
    rows.push_back({name.method, name.budget, task, canary_scores(record.scores)});
  }
  return rows;
}

std::string canary_jsonl(const std::vector<SampleRecord>& records) {
  const Names names(records);
  std::string text;
  for (const SampleRecord& record : records) {
    const std::string task = canary_task(record.task);
    if (task.empty() || !record.error.empty()) continue;
    const Named name = names.of(record);
    const Json line = {{"model", record.model},
                       {"method", name.method},
                       {"budget", name.budget},
                       {"task", task},
                       {"cell_id", fmt::format("{}|{}|{}|{}", record.model, name.method,
                                               float_text(name.budget), task)},
                       {"sample_id", record.sample_id},
                       {"scores", canary_scores(record.scores)},
                       {"raw_output", record.output},
                       {"n_tokens", task == "perplexity" ? 0 : record.n_tokens},
                       {"latency_s", latency_of(record)},
                       {"kv_bytes_retained", record.kv_bytes}};
    text += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return text;
}

std::vector<CanaryRow> canary_aggregate(const std::vector<CanaryRow>& samples) {
  std::vector<CanaryRow> rows;  // in the order of their first sample
  std::vector<std::map<std::string, int>> counts;
  for (const CanaryRow& sample : samples) {
    size_t at = 0;
    while (at < rows.size() && (rows[at].method != sample.method ||
                                rows[at].budget != sample.budget || rows[at].task != sample.task)) {
      ++at;
    }
    if (at == rows.size()) {
      rows.push_back({sample.method, sample.budget, sample.task, {}});
      counts.emplace_back();
    }
    for (const auto& [metric, value] : sample.scores) {
      rows[at].scores[metric] += value;
      ++counts[at][metric];
    }
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    for (auto& [metric, value] : rows[i].scores) value /= counts[i][metric];
  }
  return rows;
}

std::vector<CanarySummary> canary_summary(const std::vector<CanaryRow>& aggregate) {
  std::map<Named, CanarySummary> by_name;
  std::map<Named, std::pair<double, int>> functional;
  for (const CanaryRow& row : aggregate) {
    const Named name = {row.method, row.budget};
    by_name.try_emplace(name, CanarySummary{row.method, row.budget, kNan, kNan, kNan});
    const char* metric = row.task == "tool" ? "func_correct" : "pass@1";
    const auto value = row.scores.find(row.task == "perplexity" ? "perplexity" : metric);
    if (value == row.scores.end()) continue;
    if (row.task == "perplexity") {
      by_name[name].perplexity = value->second;
    } else {
      functional[name].first += value->second;
      ++functional[name].second;
    }
  }
  std::vector<CanarySummary> summary;
  for (auto& [name, row] : by_name) {
    const auto sum = functional.find(name);
    if (sum != functional.end()) row.functional = sum->second.first / sum->second.second;
    summary.push_back(row);
  }
  const CanarySummary* full = full_cache(summary);
  for (CanarySummary& row : summary) {
    if (row.method == "full") {
      row.sds = 0;
    } else if (full != nullptr && !std::isnan(full->functional + full->perplexity) &&
               !std::isnan(row.functional + row.perplexity)) {
      row.sds = canary_sds(full->functional, row.functional, full->perplexity, row.perplexity);
    }
  }
  return summary;
}

std::string canary_markdown(const std::vector<CanarySummary>& summary) {
  std::string text = "| method | budget | functional | perplexity | SDS |\n|---|---|---|---|---|\n";
  for (const CanarySummary& row : summary) {
    text += fmt::format("| {} | {} | {} | {} | {} |\n", row.method, float_text(row.budget),
                        fixed(row.functional, 3), fixed(row.perplexity, 2), fixed(row.sds, 1));
  }
  return text;
}

std::map<std::string, CanaryLine> canary_lines(const std::vector<CanarySummary>& summary) {
  std::map<std::string, CanaryLine> lines;
  const CanarySummary* full = full_cache(summary);
  // Its rule: a full cache without a functional score, or with 0, counts as 1.
  const bool usable = full != nullptr && full->functional > 0;
  for (const CanarySummary& row : summary) {
    if (row.method == "full") continue;
    CanaryLine& line = lines[row.method];
    line.budgets.push_back(row.budget);
    line.functional.push_back(row.functional / (usable ? full->functional : 1));
    line.perplexity.push_back(full == nullptr ? kNan : full->perplexity / row.perplexity);
  }
  return lines;
}

}  // namespace kv
