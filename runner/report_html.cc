// report.html: the page around the tables and figures.

#include <fmt/format.h>

#include "runner/report.h"
#include "runner/report_grid.h"
#include "runner/report_html_parts.h"

namespace kv {
namespace {

std::string figure(const ChartPanel& panel, const std::string& caption) {
  if (panel.series.empty()) return "";
  return fmt::format("<figure><figcaption>{}</figcaption>\n{}</figure>\n", html_text(caption),
                     chart_svg(panel.title + ": " + caption, {panel}, 1, ChartUse::kPage));
}

std::string list(const std::vector<std::string>& lines, const std::string& css_class) {
  if (lines.empty()) return "";
  std::string html = fmt::format("<ul class=\"{}\">\n", css_class);
  for (const std::string& line : lines) html += "<li>" + html_text(line) + "</li>\n";
  return html + "</ul>\n";
}

std::string anchor(size_t table) {
  return fmt::format("task-{}", table + 1);
}

std::string navigation(const std::vector<CellTable>& tables) {
  std::string html = "<nav>\n";
  for (size_t i = 0; i < tables.size(); ++i) {
    const ReportCell& first = *tables[i].front();
    html += fmt::format("<a href=\"#{}\">{}, {}</a>\n", anchor(i), escape_markup(first.model),
                        escape_markup(first.task));
  }
  return html + "</nav>\n";
}

// Scores by depth and length; "" where the task has no such grid.
std::string grid_html(const CellTable& table) {
  std::string figures;
  for (const HeatMap& map : grid_maps(table)) {
    figures +=
        fmt::format("<figure><figcaption>{}</figcaption>\n{}</figure>\n", escape_markup(map.title),
                    heat_svg(map.title, grid_axes(table), {map}, 1, ChartUse::kPage));
  }
  if (figures.empty()) return "";
  return fmt::format(
      "<h4>By depth and length</h4>\n<p class=\"soft\">{}, the mean over the samples of a "
      "place.</p>\n<div class=\"heats\">\n{}</div>\n",
      escape_markup(headline_metric(*table.front())), figures);
}

std::string task_section(const CellTable& table, size_t place, const std::vector<ReportCell>& cells,
                         const std::vector<SampleRecord>& records) {
  const ReportCell& first = *table.front();
  const ChartPanel panel = tradeoff_panel(cells, first.model, first.task_spec);
  std::string html = fmt::format("<section id=\"{}\">\n<h3>{}</h3>\n<p>{}</p>\n", anchor(place),
                                 escape_markup(first.task), html_text(protocol_text(first)));
  html += list(scale_end_sentences(table), "warning");
  html += score_table(table);
  html += figure(panel, "Headline score against KV memory; whiskers are 95 % intervals");
  html += grid_html(table) + kept_html(table, records);
  html += answers_html(table) + sample_outputs(table, records);
  const std::vector<std::string> remarks = remark_lines(table);
  if (!remarks.empty()) html += "<h4>Notes and errors</h4>\n" + list(remarks, "notes");
  return html + "</section>\n";
}

// Average scores; "" where nothing is averaged.
std::string average_html(const std::vector<ReportCell>& cells, const std::string& model) {
  const AverageTable table = average_table(cells, model);
  if (table.rows.empty()) return "";
  return "<h3>Average score</h3>\n<p>" + html_text(how_averages_are_made(table)) + "</p>\n" +
         figure(average_panel(table, model),
                "Average score against the share of rows removed; whiskers are 95 % intervals") +
         average_rows_html(table);
}

std::string model_section(const std::string& model, const std::vector<ReportCell>& cells) {
  std::string html = fmt::format("<h2>{}</h2>\n", escape_markup(model));
  html += summary_table(cells, model);
  html +=
      figure(divergence_panel(cells, model),
             "Does perplexity see what the answers lose? Solid: functional score; dashed, hollow: "
             "the full cache's perplexity divided by the compressor's. Both are 1 for the full "
             "cache; where the dashed "
             "line stays high and the solid one falls, the loss is silent");
  html += average_html(cells, model) + degradation_html(cells, model);
  return html + "<h3>Cost</h3>\n" + cost_table(cells, model);
}

std::string specs(const std::vector<ReportCell>& cells) {
  std::vector<std::string> lines, seen;
  for (const ReportCell& cell : cells) {
    bool known = false;
    for (const std::string& spec : seen) known = known || spec == cell.spec;
    if (known) continue;
    seen.push_back(cell.spec);
    lines.push_back(fmt::format("{} at ratio {}: `{}`", cell.label,
                                number_text(cell.compression_ratio), cell.spec));
  }
  return "<h2>Compressors in full</h2>\n" + list(lines, "notes");
}

}  // namespace

std::string report_html(const std::vector<ReportCell>& cells,
                        const std::vector<SampleRecord>& records, const ManifestInfo& manifest) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
      "name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>kvengine: "
      "results</title>\n" +
      style_html() + "</head>\n<body>\n<main>\n<h1>Results</h1>\n";
  html += "<p class=\"soft\">" + html_text(run_paragraph(manifest)) + "</p>\n";
  const std::string limits = limits_paragraph(manifest);
  if (!limits.empty()) html += "<p class=\"warning\">" + html_text(limits) + "</p>\n";
  if (cells.empty()) return html + "<p>There are no records yet.</p>\n</main>\n</body>\n</html>\n";
  const std::vector<SampleRecord> latest = latest_records(records);
  const std::vector<CellTable> tables = cell_tables(cells);
  html += navigation(tables);
  for (size_t i = 0; i < tables.size(); ++i) {
    const std::string& model = tables[i].front()->model;
    if (i == 0 || tables[i - 1].front()->model != model) html += model_section(model, cells);
    html += task_section(tables[i], i, cells, latest);
  }
  html += "<h2>How to read this</h2>\n<p>" + html_text(how_to_read()) + "</p>\n";
  return html + specs(cells) + "</main>\n</body>\n</html>\n";
}

}  // namespace kv
