#include "runner/stats.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/error.h"
#include "tasks/aggregate.h"

namespace kv {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

bool inside_character(const std::string& text, size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

}  // namespace

double median(std::vector<double> values) {
  KV_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

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
    return {kNan, {kNan, kNan}, 0};
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

ScaleEnd scale_end(const Aggregate& full_cache) {
  if (full_cache.ci_low <= kScaleEndDistance) return ScaleEnd::kFloor;
  if (full_cache.ci_high >= 1 - kScaleEndDistance) return ScaleEnd::kCeiling;
  return ScaleEnd::kNone;
}

size_t common_beginning(const std::string& a, const std::string& b) {
  const size_t shorter = std::min(a.size(), b.size());
  size_t at = 0;
  while (at < shorter && a[at] == b[at]) ++at;
  while (at > 0 && (inside_character(a, at) || inside_character(b, at))) --at;
  return at;
}

std::optional<int64_t> first_divergence(const std::vector<int32_t>& a,
                                        const std::vector<int32_t>& b) {
  if (a == b) return std::nullopt;
  const auto [at, ignored] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return at - a.begin();
}

AnswerComparison compare_answers(const AnswersById& cell, const AnswersById& full_cache) {
  std::vector<double> same, places, ours, theirs;
  for (const auto& [id, answer] : cell) {
    const auto other = full_cache.find(id);
    if (other == full_cache.end()) continue;
    same.push_back(answer.output == other->second.output ? 1 : 0);
    const bool known = answer.has_ids() && other->second.has_ids();
    const auto place = known ? first_divergence(answer.ids, other->second.ids) : std::nullopt;
    if (place) places.push_back(static_cast<double>(*place));
    ours.push_back(static_cast<double>(answer.n_tokens));
    theirs.push_back(static_cast<double>(other->second.n_tokens));
  }
  AnswerComparison result{static_cast<int>(same.size()),
                          {kNan, kNan, kNan, 0},
                          kNan,
                          {kNan, kNan},
                          static_cast<int>(places.size()),
                          kNan,
                          {kNan, kNan}};
  if (same.empty()) return result;
  const Interval interval = interval_of_mean(same);
  result.same = {mean(same), interval.low, interval.high, result.n};
  if (!places.empty()) {
    result.first_divergence = median(places);
    result.first_divergence_interval =
        bootstrap_interval(places.size(), [&](std::span<const size_t> drawn) {
          std::vector<double> values;
          for (size_t i : drawn) values.push_back(places[i]);
          return median(std::move(values));
        });
  }
  const auto ratio = [&](std::span<const size_t> drawn) {
    double sum = 0, full = 0;
    for (size_t i : drawn) sum += ours[i], full += theirs[i];
    return full > 0 ? sum / full : kNan;
  };
  std::vector<size_t> all(ours.size());
  std::iota(all.begin(), all.end(), size_t{0});
  result.length_ratio = ratio(all);
  result.length_ratio_interval = bootstrap_interval(all.size(), ratio);
  return result;
}

}  // namespace kv
