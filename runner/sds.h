// Silent degradation: functional quality that is lost where perplexity does not show it.
//
// Two forms. `sds` is kv-canary's score, for comparison with its reports: relative functional drop
// over relative rise of perplexity. It says 1000 * drop as soon as perplexity does not rise, and
// its size then means nothing.
//
// `gap` stays meaningful there: the functional loss minus the loss that perplexity implies,
//   gap = (1 - f_cell / f_full) - (1 - ppl_full / ppl_cell) = ppl_full / ppl_cell - f_cell / f_full
// in shares of the full cache's level; with one functional task it is the distance between the two
// lines of the divergence chart. 0.3: functional quality lost 30 points more than perplexity shows. Negative: perplexity
// overstates the damage. Undefined (NaN) where the full cache's functional score is 0.
#pragma once

#include <string>
#include <vector>

#include "runner/stats.h"
#include "tasks/statistics.h"

namespace kv {

// kv-canary's formula with Python's max(): a NaN perplexity counts as no rise.
double canary_sds(double functional_full, double functional_cell, double ppl_full, double ppl_cell);

// NaN where functional_full is not above 0 or ppl_cell is no positive number.
double degradation_gap(double functional_full, double functional_cell, double ppl_full,
                       double ppl_cell);

// One metric of one task, of the full cache and of a cell. Only common samples count.
struct PairedScores {
  std::string task_spec;
  std::string metric;
  ScoresById full, cell;
};

struct Degradation {
  double functional_full = 0, functional_cell = 0;  // means over the functional tasks
  double ppl_full = 0, ppl_cell = 0;
  double sds = 0;
  double gap = 0;
  // 95 %, bootstrap: samples are drawn for each task, the full cache's and the cell's alike. NaN
  // where gap is, or where more than 5 % of the draws leave the full cache with a score of 0.
  Interval gap_interval;
  int n_functional = 0, n_perplexity = 0;  // common samples; one of them 0: all else is NaN
};

Degradation degradation(const std::vector<PairedScores>& functional,
                        const PairedScores& perplexity);

}  // namespace kv
