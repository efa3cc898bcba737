#include "runner/report.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/safetensors_writer.h"
#include "runner/figures.h"
#include "runner/report_average.h"
#include "runner/report_grid.h"
#include "runner/report_text.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

Json json_number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json json_interval(double value, double low, double high) {
  return {
      {"value", json_number(value)}, {"ci_low", json_number(low)}, {"ci_high", json_number(high)}};
}

Json json_answers(const AnswerComparison& a) {
  return {
      {"n", a.n},
      {"same_text", json_interval(a.same.value, a.same.ci_low, a.same.ci_high)},
      {"diverging", a.n_diverging},
      {"first_divergent_token", json_interval(a.first_divergence, a.first_divergence_interval.low,
                                              a.first_divergence_interval.high)},
      {"length_ratio",
       json_interval(a.length_ratio, a.length_ratio_interval.low, a.length_ratio_interval.high)}};
}

Json json_cell(const ReportCell& cell, const std::string& metric) {
  const Aggregate& value = cell.metrics.at(metric);
  Json object = {{"model", cell.model},
                 {"compressor", cell.compressor},
                 {"compression_ratio", cell.compression_ratio},
                 {"task", cell.task},
                 {"metric", metric},
                 {"value", json_number(value.value)},
                 {"n", value.n},
                 {"ci_low", json_number(value.ci_low)},
                 {"ci_high", json_number(value.ci_high)},
                 {"kv_bytes", json_number(cell.kv_bytes)},
                 {"kv_retained", json_number(cell.kv_retained)},
                 {"spec", cell.spec},
                 {"task_spec", cell.task_spec},
                 {"higher_is_better", higher_is_better(metric)},
                 {"failed", cell.n_failed}};
  const auto end = cell.scale_ends.find(metric);
  if (end != cell.scale_ends.end()) object["discriminative"] = end->second == ScaleEnd::kNone;
  const auto difference = cell.differences.find(metric);
  if (difference != cell.differences.end()) {
    object["difference_to_none"] = {{"value", json_number(difference->second.value)},
                                    {"n", difference->second.n},
                                    {"ci_low", json_number(difference->second.interval.low)},
                                    {"ci_high", json_number(difference->second.interval.high)}};
  }
  if (cell.answers.n > 0) object["answers_beside_none"] = json_answers(cell.answers);
  return object;
}

constexpr int kMapsInARow = 4;

std::vector<Figure> figures_of(const std::vector<ReportCell>& cells) {
  std::vector<Figure> figures;
  const std::string tradeoff = tradeoff_svg(cells);
  if (!tradeoff.empty()) figures.push_back({"quality_vs_memory", tradeoff});
  for (const std::string& model : models_of(cells)) {
    const std::string name = divergence_figure(cells, model);
    if (name.empty()) continue;
    figures.push_back({name, chart_svg("Function (solid) and perplexity (dashed)",
                                       {divergence_panel(cells, model)}, 1)});
  }
  for (const std::string& model : models_of(cells)) {
    const AverageTable averages = average_table(cells, model);
    const std::string name = average_figure(averages, model);
    if (name.empty()) continue;
    figures.push_back({name, chart_svg("Average score against compression",
                                       {average_panel(averages, model)}, 1)});
  }
  for (const CellTable& table : cell_tables(cells)) {
    const std::vector<HeatMap> maps = grid_maps(table);
    if (maps.empty()) continue;
    const ReportCell& first = *table.front();
    figures.push_back({file_name("grid_" + first.task + "_" + first.model),
                       heat_svg(first.task + ", " + first.model + ": " + headline_metric(first),
                                grid_axes(table), maps, kMapsInARow)});
  }
  return figures;
}

}  // namespace

std::string cells_csv(const std::vector<ReportCell>& cells) {
  std::string csv =
      "model,compressor,compression_ratio,task,metric,value,n,ci_low,ci_high,kv_bytes,kv_retained,"
      "spec\n";
  for (const ReportCell& cell : cells) {
    for (const std::string& metric : metric_order(cell)) {
      const Aggregate& value = cell.metrics.at(metric);
      csv += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{}\n", csv_field(cell.model),
                         csv_field(cell.compressor), number_text(cell.compression_ratio),
                         csv_field(cell.task), csv_field(metric), number_text(value.value), value.n,
                         number_text(value.ci_low), number_text(value.ci_high),
                         number_text(cell.kv_bytes), number_text(cell.kv_retained),
                         csv_field(cell.spec));
    }
  }
  return csv;
}

std::string cells_json(const std::vector<ReportCell>& cells) {
  Json list = Json::array();
  for (const ReportCell& cell : cells) {
    for (const std::string& metric : metric_order(cell)) list.push_back(json_cell(cell, metric));
  }
  return list.dump(1) + "\n";
}

void write_reports(const std::vector<SampleRecord>& records, const ManifestInfo& manifest,
                   const fs::path& dir) {
  const std::vector<ReportCell> cells = report_cells(records, manifest);
  write_file_atomically(dir / "cells.csv", cells_csv(cells));
  write_file_atomically(dir / "cells.json", cells_json(cells));
  write_file_atomically(dir / "RESULTS.md", results_markdown(cells, manifest));
  write_file_atomically(dir / "report.html", report_html(cells, records, manifest));
  write_figures(figures_of(cells), dir / "figures");
}

}  // namespace kv
