// Tables of report.html.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "runner/chart_svg.h"
#include "runner/report_degradation.h"
#include "runner/report_html_parts.h"

namespace kv {
namespace {

// What an opening mark's closing one looks like; longest first.
struct Mark {
  const char *text, *open, *close;
};
constexpr Mark kMarks[] = {{"**", "<strong>", "</strong>"}, {"*", "<em>", "</em>"}};

// "0.5000" above its interval.
std::string value_html(const std::string& value, double low, double high) {
  if (low == high) return value;
  return fmt::format("{}<small>{} … {}</small>", value, number_for_people(low),
                     number_for_people(high));
}

std::string score_html(const ReportCell& cell, const std::string& metric) {
  const auto value = cell.metrics.find(metric);
  if (value == cell.metrics.end()) return "-";
  return value_html(number_for_people(value->second.value), value->second.ci_low,
                    value->second.ci_high);
}

// Coloured where the interval leaves zero out.
std::string difference_html(const PairedDifference& d, bool more_is_better) {
  const std::string signed_value =
      fmt::format("{}{}", d.value > 0 ? "+" : "", number_for_people(d.value));
  const std::string text = value_html(signed_value, d.interval.low, d.interval.high);
  if (d.interval.low <= 0 && d.interval.high >= 0) return text;
  if (std::isnan(d.interval.low)) return text;
  const bool better = (d.value > 0) == more_is_better;
  return fmt::format("<span class=\"{}\">{}</span>", better ? "better" : "worse", text);
}

std::string difference_html(const ReportCell& cell, const std::string& metric) {
  const auto found = cell.differences.find(metric);
  if (found == cell.differences.end() || found->second.n == 0) return "-";
  return difference_html(found->second, higher_is_better(metric));
}

bool saturated(const ReportCell& cell, const std::string& metric) {
  const auto end = cell.scale_ends.find(metric);
  return end != cell.scale_ends.end() && end->second != ScaleEnd::kNone;
}

std::string percent(double share) {
  return fmt::format("{:.1f} %", 100 * share);
}

// The cells of one model by compressor, in the order of their first appearance.
std::vector<std::vector<const ReportCell*>> by_compressor(const std::vector<ReportCell>& cells,
                                                          const std::string& model) {
  std::vector<std::vector<const ReportCell*>> rows;
  for (const ReportCell& cell : cells) {
    if (cell.model != model) continue;
    auto row = std::find_if(rows.begin(), rows.end(),
                            [&](const auto& r) { return r.front()->spec == cell.spec; });
    if (row == rows.end()) {
      rows.emplace_back();
      row = rows.end() - 1;
    }
    row->push_back(&cell);
  }
  return rows;
}

std::string retained_range(const std::vector<const ReportCell*>& row) {
  double low = INFINITY, high = 0;
  for (const ReportCell* cell : row) {
    if (cell->kv_retained <= 0) continue;
    low = std::min(low, cell->kv_retained);
    high = std::max(high, cell->kv_retained);
  }
  if (high == 0) return "-";
  return percent(low) == percent(high) ? percent(low)
                                       : fmt::format("{:.1f} … {}", 100 * low, percent(high));
}

}  // namespace

std::string html_text(const std::string& markdown) {
  std::string html, open;  // open: the mark that is waiting for its end
  bool code = false;
  const std::string safe = escape_markup(markdown);
  for (size_t i = 0; i < safe.size();) {
    if (safe[i] == '`') {
      html += code ? "</code>" : "<code>";
      code = !code;
      ++i;
      continue;
    }
    const Mark* mark = nullptr;
    for (const Mark& known : kMarks) {
      if (mark == nullptr && !code &&
          safe.compare(i, std::string(known.text).size(), known.text) == 0)
        mark = &known;
    }
    if (mark == nullptr) {
      html += safe[i++];
      continue;
    }
    html += open == mark->text ? mark->close : mark->open;
    open = open == mark->text ? "" : mark->text;
    i += std::string(mark->text).size();
  }
  return html;
}

std::string html_table(const HtmlTable& table, const std::string& caption) {
  // Above the part that scrolls, so that it is never cut off.
  std::string html = caption.empty() ? "" : "<p class=\"soft\">" + caption + "</p>\n";
  html += "<div class=\"scroll\"><table>\n<thead><tr>";
  for (const std::string& cell : table.head) html += "<th scope=\"col\">" + cell + "</th>";
  html += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    html += "<tr>";
    for (size_t i = 0; i < row.size(); ++i) {
      html += i == 0 ? "<th scope=\"row\">" + row[i] + "</th>" : "<td>" + row[i] + "</td>";
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string compressor_html(const ReportCell& cell) {
  std::string html = "<code>" + escape_markup(cell.label) + "</code>";
  if (cell.compression_ratio > 0) html += " " + number_text(cell.compression_ratio);
  return html;
}

std::string summary_table(const std::vector<ReportCell>& cells, const std::string& model) {
  std::vector<const ReportCell*> tasks;  // one cell of each
  bool any_saturated = false;
  HtmlTable table{{"compressor,<br>share removed", "KV retained"}, {}};
  for (const ReportCell& cell : cells) {
    const bool known = std::any_of(tasks.begin(), tasks.end(), [&](const ReportCell* other) {
      return other->task_spec == cell.task_spec;
    });
    if (cell.model != model || known) continue;
    tasks.push_back(&cell);
    const std::string metric = headline_metric(cell);
    const bool flat = saturated(cell, metric);
    any_saturated = any_saturated || flat;
    table.head.push_back(fmt::format("{}<br>{}{}", escape_markup(cell.task), escape_markup(metric),
                                     flat ? " †" : ""));
    table.head.push_back("difference<br>to none");
  }
  for (const auto& row : by_compressor(cells, model)) {
    std::vector<std::string> line = {compressor_html(*row.front()), retained_range(row)};
    for (const ReportCell* task : tasks) {
      const auto cell = std::find_if(row.begin(), row.end(), [&](const ReportCell* other) {
        return other->task_spec == task->task_spec;
      });
      const std::string metric = headline_metric(*task);
      line.push_back(cell == row.end() ? "-" : score_html(**cell, metric));
      line.push_back(cell == row.end() ? "-" : difference_html(**cell, metric));
    }
    table.rows.push_back(line);
  }
  std::string caption =
      "One score for each task, with 95 % intervals; coloured differences leave "
      "zero out.";
  if (any_saturated) {
    caption +=
        " † The full cache itself is at an end of the scale: the task does not discriminate.";
  }
  return html_table(table, caption);
}

std::string average_rows_html(const AverageTable& averages) {
  HtmlTable table{
      {"compressor,<br>share removed", "average", "difference<br>to none", "KV retained", "n"}, {}};
  for (const AverageRow& row : averages.rows) {
    const PairedDifference difference = {row.difference, row.difference_interval, row.n};
    table.rows.push_back(
        {compressor_html(*row.cell),
         value_html(number_for_people(row.value), row.interval.low, row.interval.high),
         row.cell->is_baseline() ? "-" : difference_html(difference, true),
         percent(row.kv_retained), fmt::format("{}", row.n)});
  }
  return html_table(table, "");
}

std::string degradation_html(const std::vector<ReportCell>& cells, const std::string& model) {
  HtmlTable table{{"compressor,<br>share removed", "functional", "full cache's", "ppl",
                   "full cache's", "SDS", "gap", "n functional,<br>perplexity"},
                  {}};
  for (const DegradationRow& row : degradation_rows(cells, model)) {
    const Degradation& d = row.degradation;
    table.rows.push_back(
        {compressor_html(*row.cell), number_for_people(d.functional_cell),
         number_for_people(d.functional_full), number_for_people(d.ppl_cell),
         number_for_people(d.ppl_full), number_for_people(d.sds),
         value_html(number_for_people(d.gap), d.gap_interval.low, d.gap_interval.high),
         fmt::format("{}, {}", d.n_functional, d.n_perplexity)});
  }
  if (table.rows.empty()) return "";
  return "<h3>Silent degradation</h3>\n" +
         html_table(table, html_text(how_degradation_is_measured()));
}

std::string cost_table(const std::vector<ReportCell>& cells, const std::string& model) {
  static constexpr const char* kTimes[] = {"prefill_ms", "compress_ms", "ttft_ms", "tpot_ms",
                                           "decode_ms"};
  std::vector<std::string> times;  // those that were measured at all
  for (const char* name : kTimes) {
    const bool measured = std::any_of(cells.begin(), cells.end(), [&](const ReportCell& cell) {
      return cell.model == model && cell.timing.count(name) > 0;
    });
    if (measured) times.push_back(name);
  }
  HtmlTable table{{"compressor,<br>share removed", "task", "KV bytes", "KV retained"}, {}};
  for (const std::string& name : times)
    table.head.push_back(name.substr(0, name.size() - 3) + ", ms");
  table.head.push_back("tokens prefilled");
  for (const ReportCell& cell : cells) {
    if (cell.model != model) continue;
    std::vector<std::string> row = {compressor_html(cell), escape_markup(cell.task),
                                    bytes_text(cell.kv_bytes), percent(cell.kv_retained)};
    for (const std::string& name : times) {
      const auto time = cell.timing.find(name);
      row.push_back(time == cell.timing.end() ? "-" : number_for_people(time->second));
    }
    row.push_back(fmt::format("{}", cell.n_context));
    table.rows.push_back(row);
  }
  return html_table(
      table, std::string("KV bytes of one sequence right after compression, the mean over samples. "
                         "Prefilled tokens as if no prefill were shared.") +
                 (times.empty() ? " Times were not measured (<code>run.timing</code>)."
                                : " Times are medians over samples."));
}

std::string score_table(const CellTable& cells) {
  const std::vector<std::string> metrics = table_metrics(cells);
  HtmlTable table{{"compressor,<br>share removed", "n"}, {}};
  for (const std::string& metric : metrics) {
    table.head.push_back(fmt::format("{}<br>{} is better", escape_markup(metric),
                                     higher_is_better(metric) ? "higher" : "lower"));
    if (has_difference(metric)) table.head.push_back("difference<br>to none");
  }
  for (const ReportCell* cell : cells) {
    std::vector<std::string> row = {compressor_html(*cell), fmt::format("{}", cell->n_samples)};
    if (cell->n_failed > 0) row[1] += fmt::format("<small>{} failed</small>", cell->n_failed);
    for (const std::string& metric : metrics) {
      row.push_back(score_html(*cell, metric));
      if (has_difference(metric)) row.push_back(difference_html(*cell, metric));
    }
    table.rows.push_back(row);
  }
  return html_table(table, "Scores with 95 % intervals.");
}

std::string answers_html(const CellTable& cells) {
  HtmlTable table{{"compressor,<br>share removed", "n", "same text", "first divergent<br>token",
                   "length ratio"},
                  {}};
  for (const ReportCell* cell : cells) {
    const AnswerComparison& a = cell->answers;
    if (a.n == 0) continue;
    table.rows.push_back(
        {compressor_html(*cell), fmt::format("{}", a.n),
         value_html(number_for_people(a.same.value), a.same.ci_low, a.same.ci_high),
         a.n_diverging == 0
             ? "-"
             : value_html(number_for_people(a.first_divergence), a.first_divergence_interval.low,
                          a.first_divergence_interval.high),
         value_html(number_for_people(a.length_ratio), a.length_ratio_interval.low,
                    a.length_ratio_interval.high)});
  }
  if (table.rows.empty()) return "";
  return "<h4>Answers beside the full cache's</h4>\n" +
         html_table(table, html_text(how_answers_are_compared()));
}

}  // namespace kv
