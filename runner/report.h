// Every report of a run, made from its records alone.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runner/report_cells.h"
#include "runner/results.h"

namespace kv {

// Writes cells.csv, cells.json, RESULTS.md and figures/*.svg into dir (which exists), each at once,
// replacing earlier ones. The same records and manifest give the same bytes; the order of the
// records does not matter, save that of repeated samples. Throws Error(kData) where a file cannot
// be written.
void write_reports(const std::vector<SampleRecord>& records, const ManifestInfo& manifest,
                   const std::filesystem::path& dir);

// The contents of the files.
std::string cells_csv(const std::vector<ReportCell>& cells);
std::string cells_json(const std::vector<ReportCell>& cells);
std::string results_markdown(const std::vector<ReportCell>& cells, const ManifestInfo& manifest);

// Headline metric against KV memory retained: a row of panels for each model, a panel for each
// task, a line for each family of methods. Empty where no cell has a value.
std::string tradeoff_svg(const std::vector<ReportCell>& cells);

}  // namespace kv
