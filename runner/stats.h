// Comparison of two cells on the samples that both have.
#pragma once

#include <map>
#include <string>

#include "tasks/statistics.h"
#include "tasks/task.h"

namespace kv {

using ScoresById = std::map<std::string, Scores>;  // sample id -> scores

struct PairedDifference {
  double value = 0;   // cell minus baseline
  Interval interval;  // 95 %, bootstrap over the common samples: both cells are resampled alike
  int n = 0;          // common samples; 0: nothing could be compared, value and interval are NaN
};

// task_spec: the task's canonical text, which says how samples are pooled.
PairedDifference paired_difference(const std::string& task_spec, const std::string& metric,
                                   const ScoresById& cell, const ScoresById& baseline);

}  // namespace kv
