#include "runner/report_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/linear.h"

namespace kv {

std::string spec_parameter(const std::string& canonical, const std::string& name) {
  for (const char* before : {"(", ","}) {
    const size_t at = canonical.find(before + name + "=");
    if (at == std::string::npos) continue;
    const size_t begin = at + 2 + name.size();
    const bool quoted = begin < canonical.size() && canonical[begin] == '\'';
    const size_t end =
        quoted ? canonical.find('\'', begin + 1) : canonical.find_first_of(",)", begin);
    return canonical.substr(begin + quoted, end - begin - quoted);
  }
  return "";
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

std::string number_for_people(double value) {
  if (std::isnan(value)) return "undefined";
  if (std::isinf(value)) return value > 0 ? "infinite" : "-infinite";
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size >= 1e6 || size < 1e-4) return fmt::format("{:.3g}", value);
  const int digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4;
  return fmt::format("{:.{}f}", value, digits);
}

std::string with_interval(const std::string& value, double low, double high) {
  return fmt::format("{} [{}, {}]", value, number_for_people(low), number_for_people(high));
}

std::string bytes_text(double bytes) {
  constexpr double kKib = 1024;
  if (bytes < kKib) return fmt::format("{:.0f} B", bytes);
  if (bytes < kKib * kKib) return fmt::format("{:.1f} KiB", bytes / kKib);
  return fmt::format("{:.2f} MiB", bytes / kKib / kKib);
}

std::string difference_text(const PairedDifference& difference) {
  if (difference.n == 0) return "-";
  const std::string sign = difference.value > 0 ? "+" : "";
  return with_interval(sign + number_for_people(difference.value), difference.interval.low,
                       difference.interval.high);
}

std::vector<CellTable> cell_tables(const std::vector<ReportCell>& cells) {
  std::vector<CellTable> tables;
  for (const ReportCell& cell : cells) {
    const bool same = !tables.empty() && tables.back().front()->model == cell.model &&
                      tables.back().front()->task_spec == cell.task_spec;
    if (!same) tables.emplace_back();
    tables.back().push_back(&cell);
  }
  return tables;
}

std::vector<std::string> table_metrics(const CellTable& table) {
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

bool has_difference(const std::string& metric) {
  return metric != "kld" && metric != "top1_agreement";
}

std::string protocol_text(const ReportCell& cell) {
  std::string text = fmt::format("Protocol: `{}`.", cell.task_spec);
  if (cell.task_spec.rfind("perplexity(", 0) != 0) return text;
  const auto tokens = cell.metrics.find("tokens");
  text += fmt::format(
      " Windows of {} tokens do not overlap; the first {} of each window is prefilled and "
      "compressed once, and every "
      "later token is scored once, the first of them from the prefill's last logits. {}",
      spec_parameter(cell.task_spec, "max_length"), spec_parameter(cell.task_spec, "prefix_ratio"),
      spec_parameter(cell.task_spec, "join") == "rows"
          ? "Each row is a window of its own; ppl is the mean of the rows' perplexities."
          : "ppl = exp(mean negative log-likelihood over all scored tokens).");
  if (tokens != cell.metrics.end()) {
    text += fmt::format(" {:.0f} tokens were scored in {} windows.", tokens->second.value,
                        tokens->second.n);
  }
  return text;
}

// "int8" and "codes" are no exact products; their name alone does not say so.
std::string weights_text(const std::string& weights) {
  const bool rounds = rounds_activations(weights);
  return weights + (rounds ? " (activations rounded to eight bits)" : "");
}

std::string run_paragraph(const ManifestInfo& manifest) {
  std::string text = fmt::format(
      "kvengine {} ({}), {}, {}, {} threads, KV cache in {}, weights {}, gemm {}, seed {}. Started "
      "{}, ",
      manifest.version, manifest.commit.empty() ? "commit unknown" : manifest.commit, manifest.cpu,
      manifest.isa, manifest.threads, manifest.kv_dtype, weights_text(manifest.weights),
      manifest.gemm, manifest.seed, manifest.started);
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

std::string how_to_read() {
  return "*Ratio removed* is the share of the context's rows that the method evicts; 0 for the "
         "full "
         "cache and for a codec "
         "alone. *n* counts samples. Brackets hold 95 % intervals: Wilson's for shares of yes and "
         "no, "
         "else the percentile "
         "bootstrap over samples. *Difference to none* pairs the samples of a cell with the same "
         "samples of the full cache. "
         "*KV bytes* are measured for one sequence right after compression, scales and positions "
         "included, the mean over "
         "samples; *KV retained* divides them by what the full cache takes at 16 bits per value.";
}

std::string how_answers_are_compared() {
  return "Answers beside the full cache's answers to the same samples. *Same text*: equal to the "
         "last character. *First divergent token*: tokens before the first one that differs, the "
         "median over the answers whose tokens do. "
         "*Length ratio*: tokens of all answers divided by the full cache's.";
}

std::vector<std::string> scale_end_sentences(const CellTable& table) {
  std::vector<std::string> sentences;
  const ReportCell& first = *table.front();
  for (const auto& [metric, end] : first.scale_ends) {
    if (end == ScaleEnd::kNone) continue;
    const bool floor = end == ScaleEnd::kFloor;
    const auto value = first.metrics.find(metric);
    const std::string score =
        !first.is_baseline() || value == first.metrics.end()
            ? ""
            : " at " + with_interval(number_for_people(value->second.value), value->second.ci_low,
                                     value->second.ci_high);
    sentences.push_back(fmt::format(
        "`discriminative: false` in {}: the full cache itself sits at the {} of the scale{}; {}.",
        metric, floor ? "floor" : "ceiling", score,
        floor ? "a compressor has nothing to lose here, so equal scores say nothing"
              : "mild losses do not show, so equal scores say little"));
  }
  return sentences;
}

std::vector<std::string> remark_lines(const CellTable& table) {
  std::vector<std::string> lines;
  for (const ReportCell* cell : table) {
    for (const std::string& note : cell->notes) {
      lines.push_back(fmt::format("`{}`: {}", cell->spec, note));
    }
    if (cell->n_failed > 0) {
      lines.push_back(fmt::format("`{}`: {} samples failed and are not in the table: {}",
                                  cell->spec, cell->n_failed, cell->errors.front()));
    }
  }
  return lines;
}

}  // namespace kv
