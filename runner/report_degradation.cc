#include "runner/report_degradation.h"

#include <algorithm>

namespace kv {
namespace {

bool is_perplexity(const ReportCell& cell) {
  return cell.task_spec.rfind("perplexity(", 0) == 0;
}

const ReportCell* find_cell(const std::vector<ReportCell>& cells, const std::string& model,
                            const std::string& task_spec, const std::string& spec) {
  const auto at = std::find_if(cells.begin(), cells.end(), [&](const ReportCell& cell) {
    return cell.model == model && cell.task_spec == task_spec && cell.spec == spec;
  });
  return at == cells.end() ? nullptr : &*at;
}

PairedScores paired(const ReportCell& full, const ReportCell& cell, const std::string& metric) {
  return {cell.task_spec, metric, full.scores, cell.scores};
}

// One compressor against the full cache, over every functional task that both have.
std::vector<PairedScores> functional_pairs(const std::vector<ReportCell>& cells,
                                           const ReportCell& compressor) {
  std::vector<PairedScores> pairs;
  for (const ReportCell& cell : cells) {
    if (cell.model != compressor.model || cell.spec != compressor.spec) continue;
    const ReportCell* full = find_cell(cells, cell.model, cell.task_spec, "none");
    const std::string metric = full == nullptr ? "" : functional_metric(*full);
    if (!metric.empty()) pairs.push_back(paired(*full, cell, metric));
  }
  return pairs;
}

}  // namespace

std::vector<DegradationRow> degradation_rows(const std::vector<ReportCell>& cells,
                                             const std::string& model) {
  const auto quality = std::find_if(cells.begin(), cells.end(), [&](const ReportCell& cell) {
    return cell.model == model && is_perplexity(cell) && cell.is_baseline();
  });
  std::vector<DegradationRow> rows;
  if (quality == cells.end()) return rows;
  for (const ReportCell& cell : cells) {
    if (cell.model != model || cell.task_spec != quality->task_spec || cell.is_baseline()) continue;
    const std::vector<PairedScores> functional = functional_pairs(cells, cell);
    if (functional.empty()) continue;
    rows.push_back({&cell, degradation(functional, paired(*quality, cell, "ppl"))});
  }
  return rows;
}

std::string how_degradation_is_measured() {
  return "*Functional*: the mean over the tasks that generate of their headline scores. "
         "*SDS*: kv-canary's score, relative functional drop divided by relative rise of "
         "perplexity; where perplexity does not rise it is 1000 times the drop and its size means "
         "nothing. *Gap* keeps its meaning there: full perplexity / perplexity minus functional / "
         "full functional, so 0.3 says that 30 points more of the function are lost than "
         "perplexity shows; below 0 perplexity overstates the damage.";
}

}  // namespace kv
