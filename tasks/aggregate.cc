#include "tasks/aggregate.h"

#include <cmath>
#include <numeric>
#include <set>

#include "tasks/statistics.h"

namespace kv {

Pooling pooling_of(const std::string& canonical, const std::string& metric) {
  if (metric == "kld" || metric == "top1_agreement") return Pooling::kTokenMean;
  if (canonical.rfind("perplexity(", 0) != 0) return Pooling::kMean;
  if (metric == "tokens") return Pooling::kSum;
  if (metric != "ppl") return Pooling::kTokenMean;
  const bool rows = canonical.find("join=rows") != std::string::npos;
  return rows ? Pooling::kMean : Pooling::kExpTokenMean;
}

MetricColumn::MetricColumn(const std::vector<Scores>& scores, const std::string& metric,
                           Pooling pooling)
    : pooling_(pooling) {
  const std::string source = pooling == Pooling::kExpTokenMean ? "nll" : metric;
  for (const Scores& sample : scores) {
    const auto value = sample.find(source);
    if (value == sample.end()) continue;
    const auto tokens = sample.find("tokens");
    values_.push_back(value->second);
    tokens_.push_back(tokens == sample.end() ? 1 : tokens->second);
  }
}

double MetricColumn::value(std::span<const size_t> samples) const {
  KV_CHECK(!samples.empty());
  const bool weighted = pooling_ == Pooling::kTokenMean || pooling_ == Pooling::kExpTokenMean;
  double sum = 0, weight = 0;
  for (size_t i : samples) {
    sum += weighted ? values_[i] * tokens_[i] : values_[i];
    weight += weighted ? tokens_[i] : 1;
  }
  if (pooling_ == Pooling::kSum) return sum;
  return pooling_ == Pooling::kExpTokenMean ? std::exp(sum / weight) : sum / weight;
}

Aggregate MetricColumn::aggregate() const {
  std::vector<size_t> all(size());
  std::iota(all.begin(), all.end(), size_t{0});
  const double point = value(all);
  const int n = static_cast<int>(size());
  if (pooling_ == Pooling::kSum) return {point, point, point, n};
  const Interval interval =
      pooling_ == Pooling::kMean
          ? interval_of_mean(values_)
          : bootstrap_interval(size(), [&](std::span<const size_t> drawn) { return value(drawn); });
  return {point, interval.low, interval.high, n};
}

std::map<std::string, Aggregate> aggregate_scores(const std::string& canonical,
                                                  const std::vector<Scores>& scores) {
  std::set<std::string> metrics;
  for (const Scores& sample : scores) {
    for (const auto& [metric, value] : sample) metrics.insert(metric);
  }
  std::map<std::string, Aggregate> result;
  for (const std::string& metric : metrics) {
    const MetricColumn column(scores, metric, pooling_of(canonical, metric));
    if (column.size() > 0) result[metric] = column.aggregate();
  }
  return result;
}

std::map<std::string, Aggregate> Task::aggregate(const std::vector<Scores>& scores) const {
  return aggregate_scores(canonical(), scores);
}

}  // namespace kv
