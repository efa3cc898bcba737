#include "runner/compare.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>

#include "runner/report_cells.h"
#include "tasks/aggregate.h"

namespace kv {
namespace {

using CellKey = std::tuple<std::string, std::string, std::string>;  // model, task_spec, spec

CellKey key_of(const SampleRecord& record) {
  return {record.model, record.task_spec, record.spec};
}

CellKey key_of(const ReportCell& cell) {
  return {cell.model, cell.task_spec, cell.spec};
}

std::string name_of(const CellKey& key) {
  return std::get<0>(key) + " / " + std::get<1>(key) + " / " + std::get<2>(key);
}

struct Side {
  std::vector<ReportCell> cells;
  std::map<CellKey, std::vector<const SampleRecord*>> records;  // without an error
  explicit Side(const std::vector<SampleRecord>& all) : cells(report_cells(all, ManifestInfo())) {
    for (const SampleRecord& record : all) {
      if (record.error.empty()) records[key_of(record)].push_back(&record);
    }
  }
  const ReportCell* find(const CellKey& key) const {
    const auto at = std::find_if(cells.begin(), cells.end(),
                                 [&](const ReportCell& cell) { return key_of(cell) == key; });
    return at == cells.end() ? nullptr : &*at;
  }
};

using RecordsById = std::map<std::string, const SampleRecord*>;

RecordsById by_id(const std::vector<const SampleRecord*>& records) {
  RecordsById result;
  for (const SampleRecord* record : records) result[record->sample_id] = record;
  return result;
}

// Over the samples whose ids `other` has too.
double value_of(const std::string& task_spec, const std::string& metric, const ScoresById& scores,
                const ScoresById& other) {
  std::vector<Scores> common;
  for (const auto& [id, sample] : scores) {
    const auto at = other.find(id);
    if (at != other.end() && at->second.count(metric) > 0) common.push_back(sample);
  }
  const MetricColumn column(common, metric, pooling_of(task_spec, metric));
  if (column.size() == 0) return std::numeric_limits<double>::quiet_NaN();
  std::vector<size_t> all(column.size());
  std::iota(all.begin(), all.end(), size_t{0});
  return column.value(all);
}

ScoresById scores_of(const RecordsById& records) {
  ScoresById scores;
  for (const auto& [id, record] : records) scores[id] = record->scores;
  return scores;
}

// Scored suffixes and records of schema 1 have none.
bool has_ids(const SampleRecord& record) {
  return static_cast<int64_t>(record.output_ids.size()) == record.n_tokens;
}

void compare_samples(const std::vector<const SampleRecord*>& a, const RecordsById& b,
                     ComparedCell& cell) {
  for (const SampleRecord* record : a) {
    const auto other = b.find(record->sample_id);
    if (other == b.end()) {
      ++cell.n_only_a;
      continue;
    }
    ++cell.n_common;
    const bool same_logits = record->logits_hash == other->second->logits_hash;
    const bool same = same_logits && record->output == other->second->output;
    cell.n_same_logits += same_logits;
    if (!same && !cell.first_difference) {
      const std::vector<int32_t>&ids = record->output_ids, &other_ids = other->second->output_ids;
      const bool known = has_ids(*record) && has_ids(*other->second);
      cell.first_difference = {record->sample_id, record->output == other->second->output,
                               known ? first_divergence(ids, other_ids) : std::nullopt};
    }
    if (record->fingerprint != other->second->fingerprint) {
      cell.fingerprint_note = "settings, data or weights differ";
    }
  }
  cell.n_only_b = static_cast<int>(b.size()) - cell.n_common;
}

ComparedCell compare_cell(const ReportCell& a, const ReportCell& b,
                          const std::vector<const SampleRecord*>& records_a,
                          const std::vector<const SampleRecord*>& records_b) {
  ComparedCell cell;
  cell.model = a.model;
  cell.compressor = a.compressor;
  cell.task = a.task;
  cell.task_spec = a.task_spec;
  cell.spec = a.spec;
  cell.compression_ratio = a.compression_ratio;
  const RecordsById of_a = by_id(records_a), of_b = by_id(records_b);
  compare_samples(records_a, of_b, cell);
  const ScoresById scores_a = scores_of(of_a), scores_b = scores_of(of_b);
  for (const std::string& metric : metric_order(a)) {
    if (b.metrics.count(metric) == 0) continue;
    cell.metric_order.push_back(metric);
    cell.metrics[metric] = {value_of(a.task_spec, metric, scores_a, scores_b),
                            value_of(a.task_spec, metric, scores_b, scores_a),
                            paired_difference(a.task_spec, metric, scores_b, scores_a)};
  }
  return cell;
}

}  // namespace

Comparison compare_runs(const std::vector<SampleRecord>& a, const std::vector<SampleRecord>& b) {
  const Side left(a), right(b);
  Comparison result;
  for (const ReportCell& cell : left.cells) {
    const CellKey key = key_of(cell);
    const ReportCell* other = right.find(key);
    if (other == nullptr) {
      result.only_a.push_back(name_of(key));
      continue;
    }
    const auto records_a = left.records.find(key), records_b = right.records.find(key);
    static const std::vector<const SampleRecord*> none;
    result.cells.push_back(
        compare_cell(cell, *other, records_a == left.records.end() ? none : records_a->second,
                     records_b == right.records.end() ? none : records_b->second));
  }
  for (const ReportCell& cell : right.cells) {
    if (left.find(key_of(cell)) == nullptr) result.only_b.push_back(name_of(key_of(cell)));
  }
  return result;
}

}  // namespace kv
