// Which rows stayed, in report.html: a picture for each compressor that evicts.

#include <fmt/format.h>

#include <algorithm>

#include "runner/chart_svg.h"
#include "runner/kept_rows.h"
#include "runner/kept_svg.h"
#include "runner/report_html_parts.h"

namespace kv {
namespace {

std::string count_text(const KeptRows& kept, int64_t n_context) {
  if (!kept.ragged()) {
    return fmt::format("{} of {} rows in every head", kept.rows[0][0], n_context);
  }
  int64_t least = n_context, most = 0;
  for (const auto& layer : kept.rows) {
    least = std::min(least, *std::min_element(layer.begin(), layer.end()));
    most = std::max(most, *std::max_element(layer.begin(), layer.end()));
  }
  return fmt::format("{} to {} of {} rows in a head", least, most, n_context);
}

// The numbers behind the bars.
std::string count_table(const KeptRows& kept) {
  HtmlTable table{{"layer"}, {}};
  for (size_t head = 0; head < kept.rows[0].size(); ++head) {
    table.head.push_back(fmt::format("KV head {}", head));
  }
  for (size_t layer = 0; layer < kept.rows.size(); ++layer) {
    table.rows.push_back({fmt::format("{}", layer)});
    for (const int64_t rows : kept.rows[layer])
      table.rows.back().push_back(fmt::format("{}", rows));
  }
  return "<details><summary>Rows of every head</summary>\n" + html_table(table, "") +
         "</details>\n";
}

std::string kept_figure(const ReportCell& cell, const SampleRecord& record) {
  const std::string count = count_text(*record.kept, record.n_context);
  std::string html =
      fmt::format("<figure><figcaption>{}: {}</figcaption>\n", compressor_html(cell), count);
  html += kept_svg(*record.kept, cell_title(cell) + ": " + count, record.n_context);
  if (record.kept->ragged()) html += count_table(*record.kept);
  return html + "</figure>\n";
}

}  // namespace

std::string kept_html(const CellTable& table, const std::vector<SampleRecord>& records) {
  std::string figures, sample;
  for (const ReportCell* cell : table) {
    for (const SampleRecord& record : records) {
      const bool here = record.model == cell->model && record.task_spec == cell->task_spec &&
                        record.spec == cell->spec;
      if (!here || !record.kept) continue;
      figures += kept_figure(*cell, record);
      sample = record.sample_id;
      break;
    }
  }
  if (figures.empty()) return "";
  return fmt::format(
      "<h4>Which rows stayed</h4>\n<p class=\"soft\">Sample {}. A line is one KV head, the heads "
      "of a layer one below the other; the stronger its colour, the larger the share of rows "
      "that stayed in that range of positions. Where heads kept different numbers, bars show how "
      "many.</p>\n<div class=\"heats\">\n{}</div>\n",
      escape_markup(sample), figures);
}

}  // namespace kv
