#include "runner/stats.h"

#include <limits>
#include <numeric>
#include <vector>

#include "tasks/aggregate.h"

namespace kv {

PairedDifference paired_difference(const std::string& task_spec, const std::string& metric,
                                   const ScoresById& cell, const ScoresById& baseline) {
  std::vector<Scores> ours, theirs;
  for (const auto& [id, scores] : cell) {
    const auto other = baseline.find(id);
    if (other == baseline.end() || !scores.count(metric) || !other->second.count(metric)) continue;
    ours.push_back(scores);
    theirs.push_back(other->second);
  }
  if (ours.empty()) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return {nan, {nan, nan}, 0};
  }
  const Pooling pooling = pooling_of(task_spec, metric);
  const MetricColumn a(ours, metric, pooling), b(theirs, metric, pooling);
  const auto difference = [&](std::span<const size_t> samples) {
    return a.value(samples) - b.value(samples);
  };
  std::vector<size_t> all(a.size());
  std::iota(all.begin(), all.end(), size_t{0});
  return {difference(all), bootstrap_interval(all.size(), difference),
          static_cast<int>(all.size())};
}

}  // namespace kv
