// kv-exec-bench's results.csv and contrast figure.

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <sstream>

#include "compress/registry.h"
#include "engine/error.h"
#include "runner/report_export.h"
#include "runner/report_text.h"

namespace kv {
namespace {

constexpr const char* kHeader = "model,press,compression_ratio,task,metric,value";

// The class name; the canonical form where another cell of the report would have the same line.
std::string press_of(const ReportCell& cell, const std::vector<ReportCell>& cells) {
  for (const ReportCell& other : cells) {
    const bool alike = other.model == cell.model && other.task_spec == cell.task_spec &&
                       other.compressor == cell.compressor &&
                       other.compression_ratio == cell.compression_ratio;
    if (alike && other.spec != cell.spec) return cell.spec;
  }
  for (const MethodInfo& method : all_methods()) {
    if (method.name == cell.compressor && !method.kvpress_name.empty()) return method.kvpress_name;
  }
  return cell.compressor;
}

double rounded4(double value) {
  return std::strtod(fmt::format("{:.4f}", value).c_str(), nullptr);
}

bool begins(const std::string& text, const std::string& prefix) {
  return text.rfind(prefix, 0) == 0;
}

// (name, value) in its order; empty for tasks that it does not have.
std::vector<std::pair<std::string, double>> metrics_of(const ReportCell& cell) {
  std::vector<std::pair<std::string, double>> metrics;
  const auto add = [&](const std::string& name) {
    const auto value = cell.metrics.find(name);
    if (value != cell.metrics.end()) metrics.emplace_back(name, rounded4(value->second.value));
  };
  if (begins(cell.task_spec, "tool_call(")) {
    for (const char* name :
         {"json_valid", "name_match", "schema_valid", "args_exact", "name_substring"}) {
      add(name);
    }
  } else if (begins(cell.task_spec, "code_exec(")) {
    add("pass@1");
    const auto pass = cell.metrics.find("pass@1");
    if (pass != cell.metrics.end()) {
      metrics.emplace_back("passed", std::round(pass->second.value * pass->second.n));
      metrics.emplace_back("total", pass->second.n);
    }
    add("edit_sim");
  }
  return metrics;
}

std::string task_of(const ReportCell& cell) {
  if (begins(cell.task_spec, "tool_call(")) return "tool_call";
  const bool mbpp = cell.task_spec.find("mbpp") != std::string::npos ||
                    cell.task_spec.find("MBPP") != std::string::npos;
  return mbpp ? "mbpp" : "humaneval";
}

// As Python prints a float: 1.0, 0.25.
std::string float_text(double value) {
  const std::string text = number_text(value);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

std::vector<std::string> csv_fields(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  return fields;
}

double csv_number(const std::string& text, const std::string& place) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != 0) throw_data("{}: expected a number, found '{}'", place, text);
  return value;
}

// Mean over presses at each ratio.
std::map<double, double> series_of(const std::vector<ExecBenchRow>& rows, const std::string& model,
                                   const std::string& task, const std::string& metric) {
  std::map<double, std::pair<double, int>> sums;
  for (const ExecBenchRow& row : rows) {
    if (row.model != model || row.task != task || row.metric != metric) continue;
    // Ratio 0 is the baseline; a codec removes no rows either and would hide it.
    if (row.compression_ratio == 0 && row.press != "none") continue;
    auto& [sum, n] = sums[row.compression_ratio];
    sum += row.value;
    ++n;
  }
  std::map<double, double> series;
  for (const auto& [ratio, sum] : sums) series[ratio] = sum.first / sum.second;
  return series;
}

double retention(const std::map<double, double>& series) {
  if (series.empty() || series.begin()->second == 0) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return rounded4(series.rbegin()->second / series.begin()->second);
}

}  // namespace

std::vector<ExecBenchRow> exec_bench_rows(const std::vector<ReportCell>& cells) {
  std::vector<ExecBenchRow> rows;
  for (const ReportCell& cell : cells) {
    for (const auto& [metric, value] : metrics_of(cell)) {
      rows.push_back({cell.model, press_of(cell, cells), cell.compression_ratio, task_of(cell),
                      metric, value});
    }
  }
  return rows;
}

std::string exec_bench_csv(const std::vector<ExecBenchRow>& rows) {
  std::string csv = fmt::format("{}\n", kHeader);
  for (const ExecBenchRow& row : rows) {
    csv +=
        fmt::format("{},{},{},{},{},{}\n", csv_field(row.model), csv_field(row.press),
                    float_text(row.compression_ratio), row.task, row.metric, float_text(row.value));
  }
  return csv;
}

std::vector<ExecBenchRow> parse_exec_bench_csv(const std::string& csv, const std::string& file) {
  std::vector<ExecBenchRow> rows;
  std::istringstream lines(csv);
  std::string line;
  std::getline(lines, line);
  if (line != kHeader) throw_data("{}:1: expected the header {}, found '{}'", file, kHeader, line);
  for (int number = 2; std::getline(lines, line); ++number) {
    const std::string place = fmt::format("{}:{}", file, number);
    const std::vector<std::string> fields = csv_fields(line);
    if (fields.size() != 6) throw_data("{}: expected 6 fields, found {}", place, fields.size());
    rows.push_back({fields[0], fields[1], csv_number(fields[2], place), fields[3], fields[4],
                    csv_number(fields[5], place)});
  }
  return rows;
}

ExecBenchContrast exec_bench_contrast(const std::vector<ExecBenchRow>& rows,
                                      const std::string& model, const std::string& task) {
  ExecBenchContrast contrast;
  const bool tools = task == "tool_call";
  contrast.standard = tools ? "json_valid" : "edit_sim";
  contrast.exec = tools ? "schema_valid" : "pass@1";
  contrast.standard_series = series_of(rows, model, task, contrast.standard);
  contrast.exec_series = series_of(rows, model, task, contrast.exec);
  contrast.standard_retention = retention(contrast.standard_series);
  contrast.exec_retention = retention(contrast.exec_series);
  return contrast;
}

}  // namespace kv
