// figures/quality_vs_memory.svg

#include <algorithm>
#include <cmath>

#include "runner/chart_svg.h"
#include "runner/figures.h"
#include "runner/report.h"

namespace kv {
namespace {

constexpr const char* kRetained = "KV memory retained (share of the full cache)";

// Cells that differ in their strength alone share a line: int8, int4 and int2 are one family, as
// are the ratios of one policy. In snapkv+int4 the policy's strength varies and the codec stays.
std::string family_of(const ReportCell& cell) {
  const std::string& name = cell.label;
  if (name.find('+') != std::string::npos || cell.compression_ratio > 0) return name;
  return name.substr(0, name.find_last_not_of("0123456789") + 1);
}

// What the legend calls the cell's family: by its only member, or intN.
std::string family_label(const ReportCell& cell, const std::vector<ReportCell>& cells) {
  if (cell.is_baseline()) return "none (full cache)";
  const std::string family = family_of(cell);
  for (const ReportCell& other : cells) {
    if (family_of(other) == family && other.label != cell.label) return family + "N";
  }
  return cell.label;
}

void add_point(ChartPanel& panel, const ReportCell& cell, const std::string& family) {
  const Aggregate& value = cell.metrics.at(headline_metric(cell));
  auto series = std::find_if(panel.series.begin(), panel.series.end(),
                             [&](const ChartSeries& s) { return s.label == family; });
  if (series == panel.series.end()) {
    panel.series.push_back({family, {}, cell.is_baseline(), "", false});
    series = panel.series.end() - 1;
  }
  series->points.push_back({cell.kv_retained, value.value, value.ci_low, value.ci_high});
}

// Perplexities of broken caches run away by orders of magnitude; the useful ones would be one flat
// line.
bool needs_log(const ChartPanel& panel) {
  double low = INFINITY, high = 0;
  for (const ChartSeries& series : panel.series) {
    for (const ChartPoint& point : series.points) {
      if (!std::isfinite(point.y)) continue;
      low = std::min(low, point.y);
      high = std::max(high, point.y);
    }
  }
  return low > 0 && high > 8 * low;
}

void sort_points(ChartPanel& panel) {
  for (ChartSeries& series : panel.series) {
    std::sort(series.points.begin(), series.points.end(),
              [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
  }
}

struct Relative {
  double sum = 0, memory = 0;
  int n = 0;
  void add(double value, const ReportCell& cell) {
    if (!std::isfinite(value)) return;
    sum += value;
    memory += cell.kv_retained;
    ++n;
  }
};

const Aggregate* value_of(const ReportCell& cell, const std::string& metric) {
  const auto value = cell.metrics.find(metric);
  return value == cell.metrics.end() ? nullptr : &value->second;
}

// What the cell and the full cache of the same task say, into one of the two means.
void add_relative(const ReportCell& cell, const ReportCell& full, Relative& function,
                  Relative& quality) {
  const std::string metric = functional_metric(full);
  if (metric.empty()) {
    const Aggregate *ours = value_of(cell, "ppl"), *theirs = value_of(full, "ppl");
    if (ours != nullptr && theirs != nullptr) quality.add(theirs->value / ours->value, cell);
    return;
  }
  const Aggregate *ours = value_of(cell, metric), *theirs = value_of(full, metric);
  // A full cache that scores 0 has nothing to be divided by.
  if (ours == nullptr || theirs == nullptr || theirs->value <= 0) return;
  function.add(ours->value / theirs->value, cell);
}

void add_relative_points(ChartPanel& panel, const ReportCell& compressor,
                         const std::vector<ReportCell>& cells) {
  Relative function, quality;
  for (const ReportCell& cell : cells) {
    if (cell.model != compressor.model || cell.spec != compressor.spec) continue;
    for (const ReportCell& full : cells) {
      const bool same = full.model == cell.model && full.task_spec == cell.task_spec;
      if (same && full.is_baseline()) add_relative(cell, full, function, quality);
    }
  }
  const std::string family = family_label(compressor, cells);
  const auto add = [&](const Relative& mean, bool dashed) {
    if (mean.n == 0) return;
    const bool own = dashed && !compressor.is_baseline();
    const std::string label = own ? family + ", perplexity" : family;
    auto series = std::find_if(panel.series.begin(), panel.series.end(),
                               [&](const ChartSeries& s) { return s.label == label; });
    if (series == panel.series.end()) {
      panel.series.push_back(
          {label, {}, compressor.is_baseline(), own ? family : std::string(), own});
      series = panel.series.end() - 1;
    }
    const double y = mean.sum / mean.n;
    series->points.push_back({mean.memory / mean.n, y, y, y});
  };
  add(function, false);
  add(quality, true);
}

}  // namespace

ChartPanel tradeoff_panel(const std::vector<ReportCell>& cells, const std::string& model,
                          const std::string& task_spec) {
  ChartPanel panel;
  for (const ReportCell& cell : cells) {
    const std::string metric = headline_metric(cell);
    if (cell.model != model || cell.task_spec != task_spec) continue;
    if (metric.empty() || cell.kv_retained <= 0) continue;
    panel.title = cell.task + ", " + cell.model;
    panel.x_label = kRetained;
    panel.y_label =
        metric + (higher_is_better(metric) ? " (higher is better)" : " (lower is better)");
    add_point(panel, cell, family_label(cell, cells));
  }
  sort_points(panel);
  panel.log_y = needs_log(panel);
  if (panel.log_y) panel.y_label += ", log scale";
  return panel;
}

std::string tradeoff_svg(const std::vector<ReportCell>& cells) {
  std::vector<std::string> models, tasks;
  for (const ReportCell& cell : cells) {
    if (headline_metric(cell).empty() || cell.kv_retained <= 0) continue;
    if (std::find(models.begin(), models.end(), cell.model) == models.end())
      models.push_back(cell.model);
    if (std::find(tasks.begin(), tasks.end(), cell.task_spec) == tasks.end())
      tasks.push_back(cell.task_spec);
  }
  if (models.empty()) return "";
  std::vector<ChartPanel> panels;
  for (const std::string& model : models) {
    // Empty where this model lacks the task: keeps the columns.
    for (const std::string& task : tasks) panels.push_back(tradeoff_panel(cells, model, task));
  }
  return chart_svg("Quality against KV memory", panels, static_cast<int>(tasks.size()));
}

ChartPanel divergence_panel(const std::vector<ReportCell>& cells, const std::string& model) {
  ChartPanel panel;
  panel.title = model;
  panel.x_label = kRetained;
  panel.y_label = "relative to the full cache";
  std::vector<std::string> done;  // one point for each compressor
  for (const ReportCell& cell : cells) {
    if (cell.model != model || cell.kv_retained <= 0) continue;
    if (std::find(done.begin(), done.end(), cell.spec) != done.end()) continue;
    done.push_back(cell.spec);
    add_relative_points(panel, cell, cells);
  }
  // The full cache alone is no comparison.
  const bool compared = std::any_of(panel.series.begin(), panel.series.end(),
                                    [](const ChartSeries& s) { return !s.reference; });
  if (!compared) panel.series.clear();
  sort_points(panel);
  return panel;
}

std::string divergence_figure(const std::vector<ReportCell>& cells, const std::string& model) {
  if (divergence_panel(cells, model).series.empty()) return "";
  return file_name("divergence_" + model);
}

}  // namespace kv
