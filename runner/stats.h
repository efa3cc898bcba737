// Comparison of two cells on the samples that both have.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

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

// Of values: (n), not empty.
double median(std::vector<double> values);

// Where the full cache's score leaves no room to tell compressors apart.
enum class ScaleEnd { kNone, kFloor, kCeiling };

// A score sits at an end of the scale 0..1 when its 95 % interval comes within this of it: 0 of 9
// samples right is the floor, 1 of 9 is not; 39 of 40 (up to 0.996) is the ceiling, 38 is not.
inline constexpr double kScaleEndDistance = 0.005;

ScaleEnd scale_end(const Aggregate& full_cache);

// Bytes of the longest common beginning of two texts that ends between characters of both.
size_t common_beginning(const std::string& a, const std::string& b);

// Tokens before the first that differs, the end of the shorter one included; nothing where the ids
// are equal.
std::optional<int64_t> first_divergence(const std::vector<int32_t>& a,
                                        const std::vector<int32_t>& b);

struct AnswerText {
  std::string output;
  std::vector<int32_t> ids;  // empty where the record has none (schema 1)
  int64_t n_tokens = 0;

  bool has_ids() const { return static_cast<int64_t>(ids.size()) == n_tokens; }
};
using AnswersById = std::map<std::string, AnswerText>;

// The answers of a cell beside the full cache's answers to the same samples.
struct AnswerComparison {
  int n = 0;       // common samples; 0: nothing could be compared, all else is NaN
  Aggregate same;  // share of answers that are equal to the last character
  // Median, over the n_diverging answers whose token ids differ, of the tokens before the first one
  // that does; NaN where there are none.
  double first_divergence = 0;
  Interval first_divergence_interval;
  int n_diverging = 0;
  // Tokens of all answers / tokens of all the full cache's; NaN where it answered nothing.
  double length_ratio = 0;
  Interval length_ratio_interval;
};
AnswerComparison compare_answers(const AnswersById& cell, const AnswersById& full_cache);

}  // namespace kv
