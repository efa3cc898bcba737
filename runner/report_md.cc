// RESULTS.md: what a person reads first.

#include <fmt/format.h>

#include <algorithm>

#include "runner/report.h"
#include "runner/report_average.h"
#include "runner/report_degradation.h"
#include "runner/report_text.h"

namespace kv {
namespace {

// A | or a line end in a name would end the table's cell.
std::string table_text(const std::string& text) {
  std::string safe;
  for (char c : text) {
    if (c == '|') safe += '\\';
    safe += c == '\n' || c == '\r' ? ' ' : c;
  }
  return safe;
}

std::string table_row(const ReportCell& cell, const std::vector<std::string>& metrics) {
  std::string row = fmt::format("| {} | {} | {} |", table_text(cell.label),
                                number_text(cell.compression_ratio), cell.n_samples);
  for (const std::string& metric : metrics) {
    const auto value = cell.metrics.find(metric);
    const auto difference = cell.differences.find(metric);
    row += value == cell.metrics.end()
               ? " - |"
               : fmt::format(" {} |", with_interval(number_for_people(value->second.value),
                                                    value->second.ci_low, value->second.ci_high));
    if (!has_difference(metric)) continue;
    row += fmt::format(
        " {} |", difference == cell.differences.end() ? "-" : difference_text(difference->second));
  }
  return row + fmt::format(" {} | {:.1f} % |\n", bytes_text(cell.kv_bytes), 100 * cell.kv_retained);
}

std::string render_table(const CellTable& table) {
  const std::vector<std::string> metrics = table_metrics(table);
  std::string head = "| compressor | ratio removed | n |", rule = "|---|---:|---:|";
  for (const std::string& metric : metrics) {
    head += fmt::format(" {} ({} is better) |", table_text(metric),
                        higher_is_better(metric) ? "higher" : "lower");
    rule += "---:|";
    if (!has_difference(metric)) continue;
    head += " difference to none |";
    rule += "---:|";
  }
  std::string text = head + " KV bytes | KV retained |\n" + rule + "---:|---:|\n";
  for (const ReportCell* cell : table) text += table_row(*cell, metrics);
  return text;
}

std::string bullets(const std::string& heading, const std::vector<std::string>& lines) {
  if (lines.empty()) return "";
  std::string text = "\n" + heading;
  for (const std::string& line : lines) text += "- " + line + "\n";
  return text;
}

// "" where nothing was generated.
std::string answers_table(const CellTable& table) {
  std::string rows;
  for (const ReportCell* cell : table) {
    const AnswerComparison& a = cell->answers;
    if (a.n == 0) continue;
    rows +=
        fmt::format("| {} | {} | {} | {} | {} | {} |\n", table_text(cell->label),
                    number_text(cell->compression_ratio), a.n,
                    with_interval(number_for_people(a.same.value), a.same.ci_low, a.same.ci_high),
                    a.n_diverging == 0 ? "-"
                                       : with_interval(number_for_people(a.first_divergence),
                                                       a.first_divergence_interval.low,
                                                       a.first_divergence_interval.high),
                    with_interval(number_for_people(a.length_ratio), a.length_ratio_interval.low,
                                  a.length_ratio_interval.high));
  }
  if (rows.empty()) return "";
  return fmt::format(
      "\n{}\n\n| compressor | ratio removed | n | same text | first divergent token | "
      "length ratio |\n|---|---:|---:|---:|---:|---:|\n{}",
      how_answers_are_compared(), rows);
}

// "" where there is no perplexity or nothing functional to set beside it.
std::string degradation_table(const std::vector<ReportCell>& cells, const std::string& model) {
  const std::vector<DegradationRow> rows = degradation_rows(cells, model);
  if (rows.empty()) return "";
  std::string text = fmt::format(
      "\n### Silent degradation\n\n{}\n\n| compressor | ratio removed | functional (full) | ppl "
      "(full) | SDS | gap | n functional, perplexity |\n|---|---:|---:|---:|---:|---:|---:|\n",
      how_degradation_is_measured());
  for (const DegradationRow& row : rows) {
    const Degradation& d = row.degradation;
    text += fmt::format(
        "| {} | {} | {} ({}) | {} ({}) | {} | {} | {}, {} |\n", table_text(row.cell->label),
        number_text(row.cell->compression_ratio), number_for_people(d.functional_cell),
        number_for_people(d.functional_full), number_for_people(d.ppl_cell),
        number_for_people(d.ppl_full), number_for_people(d.sds),
        with_interval(number_for_people(d.gap), d.gap_interval.low, d.gap_interval.high),
        d.n_functional, d.n_perplexity);
  }
  return text;
}

// "" where nothing is averaged.
std::string average_section(const std::vector<ReportCell>& cells, const std::string& model) {
  const AverageTable table = average_table(cells, model);
  if (table.rows.empty()) return "";
  std::string text = "\n### Average score\n\n" + how_averages_are_made(table) + "\n";
  const std::string figure = average_figure(table, model);
  if (!figure.empty())
    text += fmt::format("\n![Average score against compression ratio](figures/{}.svg)\n", figure);
  text +=
      "\n| compressor | ratio removed | average | difference to none | KV retained | n |\n"
      "|---|---:|---:|---:|---:|---:|\n";
  for (const AverageRow& row : table.rows) {
    const PairedDifference difference = {row.difference, row.difference_interval, row.n};
    text += fmt::format(
        "| {} | {} | {} | {} | {:.1f} % | {} |\n", table_text(row.cell->label),
        number_text(row.cell->compression_ratio),
        with_interval(number_for_people(row.value), row.interval.low, row.interval.high),
        row.cell->is_baseline() ? "-" : difference_text(difference), 100 * row.kv_retained, row.n);
  }
  return text;
}

std::string specs(const std::vector<ReportCell>& cells) {
  std::string text = "\n## Compressors in full\n\n";
  std::vector<std::string> seen;
  for (const ReportCell& cell : cells) {
    if (std::find(seen.begin(), seen.end(), cell.spec) != seen.end()) continue;
    seen.push_back(cell.spec);
    text += fmt::format("- {} at ratio {}: `{}`\n", cell.label, number_text(cell.compression_ratio),
                        cell.spec);
  }
  return text;
}

}  // namespace

std::string results_markdown(const std::vector<ReportCell>& cells, const ManifestInfo& manifest) {
  std::string text = "# Results\n\n" + run_paragraph(manifest) + limits_paragraph(manifest) + "\n" +
                     how_to_read() + "\n";
  if (cells.empty()) return text + "\nThere are no records yet.\n";
  if (!tradeoff_svg(cells).empty()) {
    text += "\n![Headline metrics against KV memory retained](figures/quality_vs_memory.svg)\n";
  }
  std::string model;
  for (const CellTable& table : cell_tables(cells)) {
    const ReportCell& first = *table.front();
    if (first.model != model) {
      text += fmt::format("\n## {}\n", first.model);
      const std::string figure = divergence_figure(cells, first.model);
      if (!figure.empty()) {
        text +=
            fmt::format("\n![Function and perplexity against KV memory](figures/{}.svg)\n", figure);
      }
    }
    if (first.model != model)
      text += average_section(cells, first.model) + degradation_table(cells, first.model);
    model = first.model;
    text += fmt::format("\n### {}\n\n{}\n\n", first.task, protocol_text(first));
    text += render_table(table) + bullets("", scale_end_sentences(table)) + answers_table(table) +
            bullets("Remarks:\n\n", remark_lines(table));
  }
  return text + specs(cells);
}

}  // namespace kv
