// The cells of a report, made from the records of samples.jsonl.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runner/results.h"
#include "runner/stats.h"
#include "tasks/task.h"

namespace kv {

struct ReportCell {
  std::string model, compressor,
      task;  // compressor: short name; task: its name, or task_spec where names repeat
  std::string task_spec, spec;   // canonical forms
  double compression_ratio = 0;  // share of rows removed
  std::map<std::string, Aggregate> metrics;
  std::map<std::string, PairedDifference>
      differences;      // to `none` of the same model and task; empty for `none`
  double kv_bytes = 0;  // mean over samples of what one sequence takes right after compression
  double kv_retained =
      0;              // all samples' kv_bytes / what their full caches take at 16 bits per value
  int n_samples = 0;  // without error
  int n_failed = 0;
  int64_t n_context = 0;                   // tokens prefilled and compressed, all samples
  std::vector<std::string> notes, errors;  // different ones, sorted

  bool is_baseline() const { return spec == "none"; }
};

// In the manifest's order of models, tasks and compressors; what the manifest does not name follows
// in alphabetical order. Where a sample was repeated its latest record counts.
std::vector<ReportCell> report_cells(const std::vector<SampleRecord>& records,
                                     const ManifestInfo& manifest);

// The metrics of a task in the order of reports, the headline first: as the task lists them, then
// the rest by name.
std::vector<std::string> metric_order(const ReportCell& cell);

bool higher_is_better(const std::string& metric);

// A number for tables that programs read: the shortest text that reads back the same; "nan", "inf",
// "-inf".
std::string number_text(double value);

}  // namespace kv
