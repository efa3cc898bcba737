// Silent degradation of every compressor of a model, for RESULTS.md and report.html.
#pragma once

#include <string>
#include <vector>

#include "runner/report_cells.h"
#include "runner/sds.h"

namespace kv {

struct DegradationRow {
  const ReportCell* cell = nullptr;  // one of the compressor's, for its names
  Degradation degradation;
};

// In the order of the cells, without `none`; empty where the model has no perplexity task or none
// that generates (functional_metric). Of several perplexity tasks the first
// one counts. The rows point into cells.
std::vector<DegradationRow> degradation_rows(const std::vector<ReportCell>& cells,
                                             const std::string& model);

// What the columns mean; Markdown.
std::string how_degradation_is_measured();

}  // namespace kv
