#include "runner/report_cells.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

#include "engine/value.h"
#include "runner/compressor_labels.h"
#include "tasks/aggregate.h"

namespace kv {
namespace {

using CellKey = std::tuple<size_t, std::string, size_t, std::string, size_t, std::string>;

// Place in the list, or behind all of it.
size_t place_in(const std::vector<std::string>& list, const std::string& name) {
  return static_cast<size_t>(std::find(list.begin(), list.end(), name) - list.begin());
}

CellKey key_of(const SampleRecord& record, const ManifestInfo& manifest) {
  // The baseline leads its table wherever the config names it.
  const size_t compressor =
      record.spec == "none" ? 0 : 1 + place_in(manifest.compressors, record.spec);
  return {place_in(manifest.models, record.model),
          record.model,
          place_in(manifest.tasks, record.task_spec),
          record.task_spec,
          compressor,
          record.spec};
}

struct Gathered {
  ReportCell cell;
  ScoresById scores;
  AnswersById answers;  // generated ones
  std::map<std::string, std::vector<double>> timing;
  double kv_bytes = 0, kv_bytes_full = 0;
  std::set<std::string> notes, errors;
};

void add_timing(const SampleRecord& record, std::map<std::string, std::vector<double>>& into) {
  const auto add = [&](const char* name, const std::optional<double>& value) {
    if (value) into[name].push_back(*value);
  };
  add("prefill_ms", record.prefill_ms);
  add("compress_ms", record.compress_ms);
  add("decode_ms", record.decode_ms);
  add("ttft_ms", record.ttft_ms);
  add("tpot_ms", record.tpot_ms);
}

void add_record(const SampleRecord& record, Gathered& into) {
  ReportCell& cell = into.cell;
  cell.model = record.model;
  cell.compressor = record.method;
  cell.task = record.task;
  cell.task_spec = record.task_spec;
  cell.spec = record.spec;
  cell.compression_ratio = record.compression_ratio;
  if (!record.note.empty()) into.notes.insert(record.note);  // the policy's
  const auto note = record.meta.find("note");                // the task's
  if (note != record.meta.end()) into.notes.insert(note->second);
  if (!record.error.empty()) {
    into.errors.insert(record.error);
    ++cell.n_failed;
    return;
  }
  into.scores[record.sample_id] = record.scores;
  const auto length = record.meta.find("length"), depth = record.meta.find("depth");
  if (length != record.meta.end() && depth != record.meta.end()) {
    cell.grid[record.sample_id] = {length->second, depth->second};
  }
  if (record.stop_reason != "scored") {
    into.answers[record.sample_id] = {record.output, record.output_ids, record.n_tokens};
  }
  add_timing(record, into.timing);
  into.kv_bytes += static_cast<double>(record.kv_bytes);
  into.kv_bytes_full += static_cast<double>(record.kv_bytes_full);
  cell.n_context += record.n_context;
  ++cell.n_samples;
}

void finish(Gathered& gathered) {
  ReportCell& cell = gathered.cell;
  std::vector<Scores> scores;
  for (const auto& [id, sample] : gathered.scores) scores.push_back(sample);
  cell.scores = gathered.scores;
  cell.metrics = aggregate_scores(cell.task_spec, scores);
  if (cell.n_samples > 0) cell.kv_bytes = gathered.kv_bytes / cell.n_samples;
  if (gathered.kv_bytes_full > 0) cell.kv_retained = gathered.kv_bytes / gathered.kv_bytes_full;
  for (auto& [name, values] : gathered.timing) cell.timing[name] = median(std::move(values));
  cell.notes.assign(gathered.notes.begin(), gathered.notes.end());
  cell.errors.assign(gathered.errors.begin(), gathered.errors.end());
}

// Measures that have no best value, or one other than 0 and 1.
bool on_unit_scale(const std::string& metric) {
  static const std::set<std::string> others = {"tokens", "passed", "total", "top1_agreement"};
  return higher_is_better(metric) && others.count(metric) == 0;
}

void pair_with(const Gathered& baseline, Gathered& group) {
  ReportCell& cell = group.cell;
  for (const auto& [metric, value] : baseline.cell.metrics) {
    if (on_unit_scale(metric)) cell.scale_ends[metric] = scale_end(value);
  }
  if (cell.is_baseline()) return;
  for (const auto& [metric, value] : cell.metrics) {
    cell.differences[metric] =
        paired_difference(cell.task_spec, metric, group.scores, baseline.scores);
  }
  cell.answers = compare_answers(group.answers, baseline.answers);
}

// Two tasks of one name with different parameters must not look like one.
void name_tasks_apart(std::vector<ReportCell>& cells) {
  std::map<std::string, std::set<std::string>> specs;
  for (const ReportCell& cell : cells) specs[cell.task].insert(cell.task_spec);
  for (ReportCell& cell : cells) {
    if (specs[cell.task].size() > 1) cell.task = cell.task_spec;
  }
}

// Two compressors of one name with different parameters likewise.
void name_compressors_apart(std::vector<ReportCell>& cells) {
  std::map<std::string, std::string> short_names;
  for (const ReportCell& cell : cells) short_names[cell.spec] = cell.compressor;
  const std::map<std::string, std::string> labels = compressor_labels(short_names);
  for (ReportCell& cell : cells) cell.label = labels.at(cell.spec);
}

// Null where the records are of a task that this build does not have.
const TaskInfo* task_of(const ReportCell& cell) {
  for (const TaskInfo& info : all_tasks()) {
    if (cell.task_spec.rfind(info.name + "(", 0) == 0) return &info;
  }
  return nullptr;
}

}  // namespace

std::vector<ReportCell> report_cells(const std::vector<SampleRecord>& records,
                                     const ManifestInfo& manifest) {
  std::map<CellKey, Gathered> gathered;
  for (const SampleRecord& record : latest_records(records)) {
    add_record(record, gathered[key_of(record, manifest)]);
  }
  std::map<std::pair<std::string, std::string>, const Gathered*> baselines;
  for (auto& [key, group] : gathered) {
    finish(group);
    if (group.cell.is_baseline()) baselines[{group.cell.model, group.cell.task_spec}] = &group;
  }
  std::vector<ReportCell> cells;
  for (auto& [key, group] : gathered) {
    const auto baseline = baselines.find({group.cell.model, group.cell.task_spec});
    if (baseline != baselines.end()) pair_with(*baseline->second, group);
    cells.push_back(group.cell);
  }
  name_tasks_apart(cells);
  name_compressors_apart(cells);
  return cells;
}

std::string cell_title(const ReportCell& cell) {
  if (cell.compression_ratio <= 0) return cell.label;
  return cell.label + " " + number_text(cell.compression_ratio);
}

std::vector<std::string> models_of(const std::vector<ReportCell>& cells) {
  std::vector<std::string> models;
  for (const ReportCell& cell : cells) {
    if (std::find(models.begin(), models.end(), cell.model) == models.end())
      models.push_back(cell.model);
  }
  return models;
}

std::vector<std::string> metric_order(const ReportCell& cell) {
  std::vector<std::string> order;
  if (const TaskInfo* info = task_of(cell)) {
    for (const MetricInfo& metric : info->metrics) {
      if (cell.metrics.count(metric.name)) order.push_back(metric.name);
    }
  }
  for (const auto& [metric, value] : cell.metrics) {
    if (std::find(order.begin(), order.end(), metric) == order.end()) order.push_back(metric);
  }
  return order;
}

std::string headline_metric(const ReportCell& cell) {
  const std::vector<std::string> order = metric_order(cell);
  return order.empty() ? "" : order.front();
}

bool higher_is_better(const std::string& metric) {
  for (const TaskInfo& info : all_tasks()) {
    for (const MetricInfo& known : info.metrics) {
      if (known.name == metric) return known.higher_is_better;
    }
  }
  return metric != "kld";  // against the full cache; no task's own
}

bool generates(const ReportCell& cell) {
  const TaskInfo* info = task_of(cell);
  return info == nullptr || info->generates;
}

std::string functional_metric(const ReportCell& cell) {
  return generates(cell) ? headline_metric(cell) : "";
}

std::string number_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return format_number(value);
}

}  // namespace kv
