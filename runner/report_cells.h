// The cells of a report, made from the records of samples.jsonl.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runner/results.h"
#include "runner/stats.h"
#include "tasks/task.h"

namespace kv {

// Where a task put a sample on a grid of lengths and depths.
struct GridPlace {
  std::string length, depth;
};

struct ReportCell {
  std::string model, compressor,
      task;           // compressor: short name; task: its name, or task_spec where names repeat
  std::string label;  // short name that tells it from the report's others
  std::string task_spec, spec;            // canonical forms
  double compression_ratio = 0;           // share of rows removed
  ScoresById scores;                      // of the samples without error
  std::map<std::string, GridPlace> grid;  // of those that have a place, by sample id
  std::map<std::string, Aggregate> metrics;
  std::map<std::string, PairedDifference>
      differences;  // to `none` of the same model and task; empty for `none`
  // Of the metrics on the scale 0..1, by the score of `none` of the same model and task; absent
  // where that is missing.
  std::map<std::string, ScaleEnd> scale_ends;
  AnswerComparison answers;  // n = 0 for `none` and where nothing was generated
  double kv_bytes = 0;       // mean over samples of what one sequence takes right after compression
  double kv_retained =
      0;              // all samples' kv_bytes / what their full caches take at 16 bits per value
  int n_samples = 0;  // without error
  int n_failed = 0;
  int64_t n_context = 0;  // tokens prefilled and compressed, all samples
  // Medians over the samples that were timed: "prefill_ms", "compress_ms", "decode_ms", "ttft_ms",
  // "tpot_ms".
  std::map<std::string, double> timing;
  std::vector<std::string> notes, errors;  // different ones, sorted

  bool is_baseline() const { return spec == "none"; }
};

// "snapkv 0.5": label, and the share removed where there is one.
std::string cell_title(const ReportCell& cell);

// In the order of their first appearance.
std::vector<std::string> models_of(const std::vector<ReportCell>& cells);

// In the manifest's order of models, tasks and compressors; what the manifest does not name follows
// in alphabetical order. Where a sample was repeated its latest record counts.
std::vector<ReportCell> report_cells(const std::vector<SampleRecord>& records,
                                     const ManifestInfo& manifest);

// The metrics of a task in the order of reports, the headline first: as the task lists them, then
// the rest by name.
std::vector<std::string> metric_order(const ReportCell& cell);

bool higher_is_better(const std::string& metric);

// The first of them; "" where no sample was answered.
std::string headline_metric(const ReportCell& cell);

// The metric that says whether the answers still do their job: the headline of a task that
// generates; "" for a task that scores a text. The divergence chart and the silent degradation
// score both take it.
std::string functional_metric(const ReportCell& cell);

// False for a task that scores a given text.
bool generates(const ReportCell& cell);

// A number for tables that programs read: the shortest text that reads back the same; "nan", "inf",
// "-inf".
std::string number_text(double value);

}  // namespace kv
