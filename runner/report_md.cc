// RESULTS.md: what a person reads first.

#include <algorithm>
#include <cmath>

#include "runner/report.h"

namespace kv {
namespace {

// Four significant digits; "undefined" where there is no number.
std::string number(double value) {
  if (std::isnan(value)) return "undefined";
  if (std::isinf(value)) return value > 0 ? "infinite" : "-infinite";
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size >= 1e6 || size < 1e-4) return fmt::format("{:.3g}", value);
  const int digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4;
  return fmt::format("{:.{}f}", value, digits);
}

std::string with_interval(const std::string& value, double low, double high) {
  return fmt::format("{} [{}, {}]", value, number(low), number(high));
}

std::string bytes_text(double bytes) {
  constexpr double kKib = 1024;
  if (bytes < kKib) return fmt::format("{:.0f} B", bytes);
  if (bytes < kKib * kKib) return fmt::format("{:.1f} KiB", bytes / kKib);
  return fmt::format("{:.2f} MiB", bytes / kKib / kKib);
}

// A | or a line end in a name would end the table's cell.
std::string table_text(const std::string& text) {
  std::string safe;
  for (char c : text) {
    if (c == '|') safe += '\\';
    safe += c == '\n' || c == '\r' ? ' ' : c;
  }
  return safe;
}

// The value of a parameter in a canonical text "name(a=1,b=2)"; "" where it is not there.
std::string parameter(const std::string& canonical, const std::string& name) {
  for (const char* before : {"(", ","}) {
    const size_t at = canonical.find(before + name + "=");
    if (at == std::string::npos) continue;
    const size_t begin = at + 2 + name.size();
    return canonical.substr(begin, canonical.find_first_of(",)", begin) - begin);
  }
  return "";
}

std::string protocol(const ReportCell& cell) {
  std::string text = fmt::format("Protocol: `{}`.", cell.task_spec);
  if (cell.task_spec.rfind("perplexity(", 0) != 0) return text;
  const auto tokens = cell.metrics.find("tokens");
  text += fmt::format(
      " Windows of {} tokens do not overlap; the first {} of each window is prefilled and "
      "compressed once, and every "
      "later token is scored once, the first of them from the prefill's last logits. {}",
      parameter(cell.task_spec, "max_length"), parameter(cell.task_spec, "prefix_ratio"),
      parameter(cell.task_spec, "join") == "rows"
          ? "Each row is a window of its own; ppl is the mean of the rows' perplexities."
          : "ppl = exp(mean negative log-likelihood over all scored tokens).");
  if (tokens != cell.metrics.end()) {
    text += fmt::format(" {:.0f} tokens were scored in {} windows.", tokens->second.value,
                        tokens->second.n);
  }
  return text;
}

using Table =
    std::vector<const ReportCell*>;  // the cells of one model and task, the baseline first

std::vector<std::string> table_metrics(const Table& table) {
  std::vector<std::string> metrics;
  for (const ReportCell* cell : table) {
    for (const std::string& metric : metric_order(*cell)) {
      const bool known = std::find(metrics.begin(), metrics.end(), metric) != metrics.end();
      if (!known && metric != "tokens")
        metrics.push_back(metric);  // tokens are in the protocol line
    }
  }
  return metrics;
}

std::string table_row(const ReportCell& cell, const std::vector<std::string>& metrics) {
  std::string row = fmt::format("| {} | {} | {} |", table_text(cell.compressor),
                                number_text(cell.compression_ratio), cell.n_samples);
  for (const std::string& metric : metrics) {
    const auto value = cell.metrics.find(metric);
    const auto difference = cell.differences.find(metric);
    row += value == cell.metrics.end()
               ? " - |"
               : fmt::format(" {} |", with_interval(number(value->second.value),
                                                    value->second.ci_low, value->second.ci_high));
    if (difference == cell.differences.end() || difference->second.n == 0) {
      row += " - |";
    } else {
      const PairedDifference& d = difference->second;
      row += fmt::format(" {} |",
                         with_interval(fmt::format("{}{}", d.value > 0 ? "+" : "", number(d.value)),
                                       d.interval.low, d.interval.high));
    }
  }
  return row + fmt::format(" {} | {:.1f} % |\n", bytes_text(cell.kv_bytes), 100 * cell.kv_retained);
}

std::string render_table(const Table& table) {
  const std::vector<std::string> metrics = table_metrics(table);
  std::string head = "| compressor | ratio removed | n |", rule = "|---|---:|---:|";
  for (const std::string& metric : metrics) {
    head += fmt::format(" {} ({} is better) | difference to none |", table_text(metric),
                        higher_is_better(metric) ? "higher" : "lower");
    rule += "---:|---:|";
  }
  std::string text = head + " KV bytes | KV retained |\n" + rule + "---:|---:|\n";
  for (const ReportCell* cell : table) text += table_row(*cell, metrics);
  return text;
}

// Where the full cache is at the end of the scale, no compressor can be told from another.
std::string discrimination(const Table& table) {
  std::string text;
  for (const ReportCell* cell : table) {
    if (!cell->is_baseline()) continue;
    for (const auto& [metric, value] : cell->metrics) {
      const bool share = metric == "exact_match" || metric == "partial_match";
      if (share && value.value == 0) {
        text += fmt::format(
            "\nThe full cache itself scores 0 in {}: this metric cannot show a loss here.\n",
            metric);
      }
    }
  }
  return text;
}

std::string remarks(const Table& table) {
  std::string text;
  for (const ReportCell* cell : table) {
    for (const std::string& note : cell->notes) {
      text += fmt::format("- `{}`: {}\n", cell->spec, note);
    }
    if (cell->n_failed > 0) {
      text += fmt::format("- `{}`: {} samples failed and are not in the table: {}\n", cell->spec,
                          cell->n_failed, cell->errors.front());
    }
  }
  return text.empty() ? "" : "\nRemarks:\n\n" + text;
}

std::string specs(const std::vector<ReportCell>& cells) {
  std::string text = "\n## Compressors in full\n\n";
  std::vector<std::string> seen;
  for (const ReportCell& cell : cells) {
    if (std::find(seen.begin(), seen.end(), cell.spec) != seen.end()) continue;
    seen.push_back(cell.spec);
    text += fmt::format("- {} at ratio {}: `{}`\n", cell.compressor,
                        number_text(cell.compression_ratio), cell.spec);
  }
  return text;
}

std::string run_paragraph(const ManifestInfo& manifest) {
  std::string text = fmt::format(
      "kvengine {} ({}), {}, {}, {} threads, KV cache in {}, weights {}, gemm {}, seed {}. Started "
      "{}, ",
      manifest.version, manifest.commit.empty() ? "commit unknown" : manifest.commit, manifest.cpu,
      manifest.isa, manifest.threads, manifest.kv_dtype, manifest.weights, manifest.gemm,
      manifest.seed, manifest.started);
  text += manifest.finished.empty() ? "not finished" : "finished " + manifest.finished;
  text += fmt::format(
      " ({}). {} tokens were prefilled; one prefill for each sample and cell would have taken "
      "{}.\n",
      manifest.exit_reason, manifest.tokens_prefilled, manifest.tokens_requested);
  return text;
}

std::string limits_paragraph(const ManifestInfo& manifest) {
  if (manifest.limits.empty()) return "";
  std::string list;
  for (const auto& [task, samples] : manifest.limits) {
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", task, samples);
  }
  return fmt::format(
      "\n**Limited run**: only the first samples of a task were taken ({}). These numbers say "
      "nothing about the rest of "
      "the data.\n",
      list);
}

constexpr const char* kHowToRead =
    "\n*Ratio removed* is the share of the context's rows that the method evicts; 0 for the full "
    "cache and for a codec "
    "alone. *n* counts samples. Brackets hold 95 % intervals: Wilson's for shares of yes and no, "
    "else the percentile "
    "bootstrap over samples. *Difference to none* pairs the samples of a cell with the same "
    "samples of the full cache. "
    "*KV bytes* are measured for one sequence right after compression, scales and positions "
    "included, the mean over "
    "samples; *KV retained* divides them by what the full cache takes at 16 bits per value.\n";

}  // namespace

std::string results_markdown(const std::vector<ReportCell>& cells, const ManifestInfo& manifest) {
  std::string text =
      "# Results\n\n" + run_paragraph(manifest) + limits_paragraph(manifest) + kHowToRead;
  if (cells.empty()) return text + "\nThere are no records yet.\n";
  if (!tradeoff_svg(cells).empty()) {
    text += "\n![Headline metrics against KV memory retained](figures/quality_vs_memory.svg)\n";
  }
  std::string model;
  for (size_t begin = 0; begin < cells.size();) {
    Table table;
    size_t end = begin;
    while (end < cells.size() && cells[end].model == cells[begin].model &&
           cells[end].task_spec == cells[begin].task_spec) {
      table.push_back(&cells[end++]);
    }
    if (cells[begin].model != model) text += fmt::format("\n## {}\n", cells[begin].model);
    model = cells[begin].model;
    text += fmt::format("\n### {}\n\n{}\n\n", cells[begin].task, protocol(*table.front()));
    text += render_table(table) + discrimination(table) + remarks(table);
    begin = end;
  }
  return text + specs(cells);
}

}  // namespace kv
