#include "runner/report_average.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "runner/figures.h"
#include "runner/report_text.h"

namespace kv {
namespace {

// One task's scores of one compressor, in the order of the sample ids.
using Column = std::vector<double>;

Column column_of(const ReportCell& cell, const std::string& metric) {
  Column column;
  for (const auto& [id, scores] : cell.scores) {
    const auto value = scores.find(metric);
    if (value != scores.end()) column.push_back(value->second);
  }
  return column;
}

// Ours minus theirs on the samples that both have.
Column differences_of(const ReportCell& ours, const ReportCell& theirs, const std::string& metric) {
  Column column;
  for (const auto& [id, scores] : ours.scores) {
    const auto other = theirs.scores.find(id);
    if (other == theirs.scores.end()) continue;
    const auto a = scores.find(metric), b = other->second.find(metric);
    if (a != scores.end() && b != other->second.end()) column.push_back(a->second - b->second);
  }
  return column;
}

bool on_unit_scale(const Column& column) {
  return std::all_of(column.begin(), column.end(), [](double v) { return v >= 0 && v <= 1; });
}

double mean_of_means(const std::vector<Column>& columns) {
  double sum = 0;
  for (const Column& column : columns) sum += mean(column);
  return sum / static_cast<double>(columns.size());
}

// Every task's samples are drawn again on their own.
Interval interval_of(const std::vector<Column>& columns) {
  std::vector<size_t> sizes;
  for (const Column& column : columns) sizes.push_back(column.size());
  return stratified_bootstrap(sizes, [&](std::span<const std::vector<size_t>> drawn) {
    double sum = 0;
    for (size_t t = 0; t < columns.size(); ++t) {
      double task = 0;
      for (const size_t i : drawn[t]) task += columns[t][i];
      sum += task / static_cast<double>(drawn[t].size());
    }
    return sum / static_cast<double>(columns.size());
  });
}

const ReportCell* find_cell(const std::vector<ReportCell>& cells, const std::string& model,
                            const std::string& task_spec, const std::string& spec) {
  for (const ReportCell& cell : cells) {
    if (cell.model == model && cell.task_spec == task_spec && cell.spec == spec) return &cell;
  }
  return nullptr;
}

// Why the task of this full-cache cell does not count; "" where it does.
std::string reason_against(const ReportCell& full, const std::vector<ReportCell>& cells) {
  const std::string metric = functional_metric(full);
  if (metric.empty() || full.n_samples == 0) return "the full cache answered nothing";
  if (!higher_is_better(metric)) return metric + " is better where it is lower";
  for (const ReportCell& cell : cells) {
    const bool same = cell.model == full.model && cell.task_spec == full.task_spec;
    if (same && !on_unit_scale(column_of(cell, metric))) return metric + " is no score from 0 to 1";
  }
  return "";
}

void choose_tasks(const std::vector<ReportCell>& cells, const std::string& model,
                  AverageTable& table) {
  for (const ReportCell& cell : cells) {
    if (cell.model != model || !cell.is_baseline() || !generates(cell)) continue;
    const std::string reason = reason_against(cell, cells);
    if (reason.empty()) {
      table.tasks.push_back(&cell);
    } else {
      table.left_out.push_back(fmt::format("task `{}`: {}", cell.task, reason));
    }
  }
}

// Nothing where the compressor lacks a task.
bool fill_row(const std::vector<ReportCell>& cells, const AverageTable& table, AverageRow& row) {
  std::vector<Column> scores, differences;
  for (const ReportCell* full : table.tasks) {
    const ReportCell* cell = find_cell(cells, full->model, full->task_spec, row.cell->spec);
    if (cell == nullptr) return false;
    const std::string metric = functional_metric(*full);
    scores.push_back(column_of(*cell, metric));
    differences.push_back(differences_of(*cell, *full, metric));
    if (scores.back().empty() || differences.back().empty()) return false;
    row.kv_retained += cell->kv_retained / static_cast<double>(table.tasks.size());
    row.n += static_cast<int>(scores.back().size());
  }
  row.value = mean_of_means(scores);
  row.interval = interval_of(scores);
  row.difference = mean_of_means(differences);
  row.difference_interval = interval_of(differences);
  return true;
}

}  // namespace

AverageTable average_table(const std::vector<ReportCell>& cells, const std::string& model) {
  AverageTable table;
  choose_tasks(cells, model, table);
  if (table.tasks.empty()) return table;
  std::set<std::string> seen;
  for (const ReportCell& cell : cells) {
    if (cell.model != model || !generates(cell) || !seen.insert(cell.spec).second) continue;
    AverageRow row;
    row.cell = &cell;
    if (fill_row(cells, table, row)) {
      table.rows.push_back(row);
    } else {
      table.left_out.push_back(fmt::format("`{}`: it lacks a task", cell.spec));
    }
  }
  // The full cache alone is no comparison.
  if (table.rows.size() < 2 || !table.rows.front().cell->is_baseline()) table.rows.clear();
  return table;
}

std::string how_averages_are_made(const AverageTable& table) {
  std::string tasks;
  for (const ReportCell* task : table.tasks) {
    tasks += fmt::format("{}`{}` ({}, n = {})", tasks.empty() ? "" : "; ", task->task,
                         functional_metric(*task), task->n_samples);
  }
  std::string text = fmt::format(
      "The mean over {} that generate{}, each with one score from 0 to 1 and each counted once, "
      "however many samples it has: {}. Perplexity is not in it. Intervals are 95 % percentile "
      "bootstraps that draw the samples of every task again on their own; the difference to none "
      "pairs samples. They say how far other samples of these tasks could move the average, not "
      "how "
      "far other tasks could.",
      table.tasks.size() == 1 ? "the one task" : fmt::format("the {} tasks", table.tasks.size()),
      table.tasks.size() == 1 ? "s" : "", tasks);
  for (const std::string& line : table.left_out) text += " Left out: " + line + ".";
  return text;
}

ChartPanel average_panel(const AverageTable& table, const std::string& model) {
  ChartPanel panel;
  panel.title = model;
  panel.x_label = "compression ratio (share of rows removed)";
  panel.y_label = "average score, " +
                  fmt::format("{} task{}", table.tasks.size(), table.tasks.size() == 1 ? "" : "s");
  panel.linear_x = true;
  std::vector<ChartPoint> start;
  for (const AverageRow& row : table.rows) {
    const bool baseline = row.cell->is_baseline();
    if (!baseline && row.cell->compression_ratio <= 0) continue;
    const ChartPoint point = {row.cell->compression_ratio, row.value, row.interval.low,
                              row.interval.high};
    if (baseline) start = {{point.x, point.y, point.y, point.y}};
    const std::string label = baseline ? "none (full cache)" : row.cell->label;
    auto series = std::find_if(panel.series.begin(), panel.series.end(),
                               [&](const ChartSeries& s) { return s.label == label; });
    if (series == panel.series.end()) {
      series = panel.series.insert(
          panel.series.end(),
          {label, baseline ? std::vector<ChartPoint>{} : start, baseline, "", false});
    }
    series->points.push_back(point);
  }
  if (panel.series.size() < 2) panel.series.clear();
  for (ChartSeries& series : panel.series) {
    std::stable_sort(series.points.begin(), series.points.end(),
                     [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
  }
  return panel;
}

std::string average_figure(const AverageTable& table, const std::string& model) {
  return average_panel(table, model).series.empty() ? "" : file_name("average_" + model);
}

}  // namespace kv
