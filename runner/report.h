// Every report of a run, made from its records alone.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runner/chart_svg.h"
#include "runner/report_cells.h"
#include "runner/results.h"

namespace kv {

// Writes cells.csv, cells.json, RESULTS.md, report.html, figures/*.svg and figures/*.png into dir
// (which exists), each at once, replacing earlier ones. The same records and manifest give the same
// bytes; the order of the records does not matter, save that of repeated samples. Throws
// Error(kData) where a file cannot be written; figures come last, PNGs after all SVGs.
void write_reports(const std::vector<SampleRecord>& records, const ManifestInfo& manifest,
                   const std::filesystem::path& dir);

// The contents of the files.
std::string cells_csv(const std::vector<ReportCell>& cells);
std::string cells_json(const std::vector<ReportCell>& cells);
std::string results_markdown(const std::vector<ReportCell>& cells, const ManifestInfo& manifest);

// One page that needs no other file and no script.
std::string report_html(const std::vector<ReportCell>& cells,
                        const std::vector<SampleRecord>& records, const ManifestInfo& manifest);

// Headline metric against KV memory retained: a row of panels for each model, a panel for each
// task, a line for each family of methods. Empty where no cell has a value.
std::string tradeoff_svg(const std::vector<ReportCell>& cells);

// The panel of one model and task in it. No series where no cell has a value.
ChartPanel tradeoff_panel(const std::vector<ReportCell>& cells, const std::string& model,
                          const std::string& task_spec);

// Two lines for each family of methods against KV memory retained, both 1 for the full cache:
// solid, the functional score divided by the full cache's, the mean over the tasks that generate
// and where the full cache scores above 0; dashed, the full cache's perplexity divided by the
// cell's, the mean over perplexity tasks. No series where there is neither.
ChartPanel divergence_panel(const std::vector<ReportCell>& cells, const std::string& model);
// Its name in figures/, without .svg; "" where there is nothing to draw.
std::string divergence_figure(const std::vector<ReportCell>& cells, const std::string& model);

}  // namespace kv
