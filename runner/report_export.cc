#include "runner/report_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <system_error>

#include "engine/error.h"
#include "engine/safetensors_writer.h"
#include "engine/value.h"
#include "runner/chart_svg.h"
#include "runner/figures.h"
#include "runner/report_efficient_llm.h"
#include "runner/report_longctx.h"
#include "runner/report_text.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

void write_file(const fs::path& path, const std::string& content) {
  std::error_code ignored;  // the file says more
  fs::create_directories(path.parent_path(), ignored);
  write_file_atomically(path, content);
}

ChartSeries series_of(const std::string& label, const std::map<double, double>& points) {
  ChartSeries series;
  series.label = label;
  for (const auto& [x, y] : points) series.points.push_back({x, y, y, y});
  return series;
}

std::vector<std::string> models_of(const std::vector<ExecBenchRow>& rows) {
  std::vector<std::string> models;
  for (const ExecBenchRow& row : rows) {
    if (std::find(models.begin(), models.end(), row.model) == models.end())
      models.push_back(row.model);
  }
  return models;
}

fs::path export_exec_bench(const std::vector<SampleRecord>& records, const ManifestInfo& manifest,
                           const fs::path& dir) {
  const std::vector<ExecBenchRow> rows = exec_bench_rows(report_cells(records, manifest));
  if (rows.empty()) {
    throw_usage("report: kv-exec-bench has only tool_call and code_exec; this run has neither");
  }
  write_file(dir / "results.csv", exec_bench_csv(rows));
  std::set<std::string> tasks;
  for (const ExecBenchRow& row : rows) tasks.insert(row.task);
  std::vector<Figure> figures;
  std::string retention =
      "| task | model | standard retention | exec retention |\n|---|---|---|---|\n";
  for (const std::string& task : tasks) {
    std::vector<ChartPanel> panels;
    for (const std::string& model : models_of(rows)) {
      const ExecBenchContrast contrast = exec_bench_contrast(rows, model, task);
      panels.push_back({model,
                        "compression ratio (share of rows removed)",
                        "score",
                        {series_of(contrast.standard + " (string)", contrast.standard_series),
                         series_of(contrast.exec + " (exec/struct)", contrast.exec_series)},
                        false,
                        true,
                        -0.02,
                        1.02});
      retention += fmt::format("| {} | {} | {} | {} |\n", task, model,
                               number_text(contrast.standard_retention),
                               number_text(contrast.exec_retention));
    }
    figures.push_back({"contrast_" + task, chart_svg("String and execution scores: " + task, panels,
                                                     static_cast<int>(panels.size()))});
  }
  write_file(dir / "divergence.md", retention);
  write_figures(figures, dir / "figures");
  return dir / "results.csv";
}

ChartPanel canary_panel(const std::vector<CanarySummary>& summary) {
  ChartPanel panel;
  panel.x_label = "KV memory retained (fraction, log scale)";
  panel.y_label = "score normalized to full (1.0 = no degradation)";
  for (const auto& [method, line] : canary_lines(summary)) {
    ChartSeries functional, perplexity;
    functional.label = method + " functional";
    perplexity.label = method + " perplexity-quality";
    perplexity.colour_of = functional.label;
    perplexity.dashed = true;
    for (size_t i = 0; i < line.budgets.size(); ++i) {
      const double f = line.functional[i], p = line.perplexity[i];
      functional.points.push_back({line.budgets[i], f, f, f});
      perplexity.points.push_back({line.budgets[i], p, p, p});
    }
    panel.series.push_back(functional);
    panel.series.push_back(perplexity);
  }
  panel.series.push_back({"full", {{1, 1, 1, 1}}, true, "", false});
  return panel;
}

fs::path export_canary(const std::vector<SampleRecord>& records, const ManifestInfo& /*manifest*/,
                       const fs::path& dir) {
  std::set<std::string> models;
  for (const SampleRecord& record : records) models.insert(record.model);
  if (models.size() > 1) {
    throw_usage("report: kv-canary's files hold one model; this run has {}: {}", models.size(),
                fmt::join(models, ", "));
  }
  const std::vector<CanarySummary> summary =
      canary_summary(canary_aggregate(canary_samples(records)));
  if (summary.empty()) {
    throw_usage(
        "report: kv-canary has only tool_call, code_exec and perplexity; this run has none");
  }
  write_file(dir / "run.jsonl", canary_jsonl(records));
  write_file(dir / "RESULTS.md", canary_markdown(summary));
  write_figures({{"divergence", chart_svg("functional (solid) and perplexity-quality (dashed)",
                                          {canary_panel(summary)}, 1)}},
                dir);
  return dir / "RESULTS.md";
}

// To add a format: one line.
struct Format {
  const char* name;
  fs::path (*write)(const std::vector<SampleRecord>& records, const ManifestInfo& manifest,
                    const fs::path& dir);
};
constexpr Format kFormats[] = {
    {"kv-exec-bench", export_exec_bench},
    {"kv-canary", export_canary},
    {"efficient-llm", export_efficient_llm},
    {"longctx-bench", export_longctx_bench},
};

const Format& format_of(const std::string& name) {
  std::vector<std::string> names;
  for (const Format& format : kFormats) {
    if (format.name == name) return format;
    names.push_back(format.name);
  }
  throw_usage("report: --format {} is not in this build; it has {}{}", name, fmt::join(names, ", "),
              did_you_mean(name, names));
}

}  // namespace

void check_report_format(const std::string& format) {
  format_of(format);
}

fs::path export_report(const std::string& format, const std::vector<SampleRecord>& records,
                       const ManifestInfo& manifest, const fs::path& dir) {
  return format_of(format).write(records, manifest, dir);
}

}  // namespace kv
