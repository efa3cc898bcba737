// Reports in the files of other systems, made from our records.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "runner/report_cells.h"
#include "runner/results.h"

namespace kv {

// kv-exec-bench: one line of results.csv.
struct ExecBenchRow {
  std::string model, press;
  double compression_ratio = 0;  // share of rows removed
  std::string task, metric;
  double value = 0;  // rounded to 4 decimals
};

// In its order: models, tasks, `none` first, its metrics in its order. A compressor that kvpress
// has goes by its class name. Tasks other than tool calls and code are left out.
std::vector<ExecBenchRow> exec_bench_rows(const std::vector<ReportCell>& cells);
std::string exec_bench_csv(const std::vector<ExecBenchRow>& rows);
// The inverse. Throws Error(kData) with the line.
std::vector<ExecBenchRow> parse_exec_bench_csv(const std::string& csv, const std::string& file);

// Its contrast figure: a string measure beside one of execution or structure.
struct ExecBenchContrast {
  std::string standard, exec;  // metrics: "json_valid" and "schema_valid"
  // By compression ratio: the mean over presses, at 0 the baseline alone.
  std::map<double, double> standard_series, exec_series;
  // Value at the largest ratio / value at the smallest, 4 decimals; NaN where the latter is 0.
  double standard_retention = 0, exec_retention = 0;
};
ExecBenchContrast exec_bench_contrast(const std::vector<ExecBenchRow>& rows,
                                      const std::string& model, const std::string& task);

// kv-canary: the mean of each score over the samples of one (method, budget, task), budget = share
// of memory kept.
struct CanaryRow {
  std::string method;
  double budget = 1;
  std::string task;  // "code", "tool", "perplexity"
  std::map<std::string, double> scores;
};
struct CanarySummary {
  std::string method;
  double budget = 1;
  double functional = 0, perplexity = 0, sds = 0;  // NaN where there is nothing
};

std::vector<CanaryRow> canary_aggregate(const std::vector<CanaryRow>& samples);
// By method, then budget. aggregate: of canary_aggregate.
std::vector<CanarySummary> canary_summary(const std::vector<CanaryRow>& aggregate);
std::string canary_markdown(const std::vector<CanarySummary>& summary);

// The lines of its figure, by method without `full`: budgets ascending, both scores relative to
// the full cache's.
struct CanaryLine {
  std::vector<double> budgets, functional, perplexity;
};
std::map<std::string, CanaryLine> canary_lines(const std::vector<CanarySummary>& summary);

// Our records under its names; failed samples are left out.
std::vector<CanaryRow> canary_samples(const std::vector<SampleRecord>& records);
// Its samples file, one line for each record; latency_s is null where nothing was timed.
std::string canary_jsonl(const std::vector<SampleRecord>& records);

// Throws Error(kUsage) for a format that export_report does not know.
void check_report_format(const std::string& format);

// Writes that system's files into dir. records: the latest of each sample. Throws Error(kUsage) for
// a format that is not known or records that it cannot hold, Error(kData) where nothing can be
// written. Returns the main file.
std::filesystem::path export_report(const std::string& format,
                                    const std::vector<SampleRecord>& records,
                                    const ManifestInfo& manifest, const std::filesystem::path& dir);

}  // namespace kv
