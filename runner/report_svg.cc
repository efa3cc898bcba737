// figures/quality_vs_memory.svg

#include <algorithm>
#include <cmath>

#include "runner/chart_svg.h"
#include "runner/report.h"

namespace kv {
namespace {

// Cells that differ in their strength alone share a line: int8, int4 and int2 are one family, as
// are the ratios of one policy. In snapkv+int4 the policy's strength varies and the codec stays.
std::string family_of(const ReportCell& cell) {
  const std::string& name = cell.compressor;
  if (name.find('+') != std::string::npos || cell.compression_ratio > 0) return name;
  return name.substr(0, name.find_last_not_of("0123456789") + 1);
}

// What the legend calls the cell's family: by its only member, or intN.
std::string family_label(const ReportCell& cell, const std::vector<ReportCell>& cells) {
  if (cell.is_baseline()) return "none (full cache)";
  const std::string family = family_of(cell);
  for (const ReportCell& other : cells) {
    if (family_of(other) == family && other.compressor != cell.compressor) return family + "N";
  }
  return cell.compressor;
}

void add_point(ChartPanel& panel, const ReportCell& cell, const std::string& family) {
  const Aggregate& value = cell.metrics.at(metric_order(cell).front());
  auto series = std::find_if(panel.series.begin(), panel.series.end(),
                             [&](const ChartSeries& s) { return s.label == family; });
  if (series == panel.series.end()) {
    panel.series.push_back({family, {}, cell.is_baseline()});
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

std::string headline(const ReportCell& cell) {
  const std::vector<std::string> order = metric_order(cell);
  return order.empty() ? "" : order.front();
}

}  // namespace

std::string tradeoff_svg(const std::vector<ReportCell>& cells) {
  std::vector<std::string> models, tasks;
  std::map<std::pair<std::string, std::string>, ChartPanel> by_place;
  for (const ReportCell& cell : cells) {
    const std::string metric = headline(cell);
    if (metric.empty() || cell.kv_retained <= 0) continue;
    if (std::find(models.begin(), models.end(), cell.model) == models.end())
      models.push_back(cell.model);
    if (std::find(tasks.begin(), tasks.end(), cell.task) == tasks.end()) tasks.push_back(cell.task);
    ChartPanel& panel = by_place[{cell.model, cell.task}];
    panel.title = cell.task + ", " + cell.model;
    panel.x_label = "KV memory retained (share of the full cache at 16 bits)";
    panel.y_label =
        metric + (higher_is_better(metric) ? " (higher is better)" : " (lower is better)");
    add_point(panel, cell, family_label(cell, cells));
  }
  if (by_place.empty()) return "";
  std::vector<ChartPanel> panels;
  for (const std::string& model : models) {
    for (const std::string& task : tasks) {
      ChartPanel& panel =
          by_place[{model, task}];  // empty where this model lacks the task: keeps the columns
      for (ChartSeries& series : panel.series) {
        std::sort(series.points.begin(), series.points.end(),
                  [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
      }
      panel.log_y = needs_log(panel);
      if (panel.log_y) panel.y_label += ", log scale";
      panels.push_back(panel);
    }
  }
  return chart_svg("Quality against KV memory", panels, static_cast<int>(tasks.size()));
}

}  // namespace kv
