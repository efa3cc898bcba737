#include "tasks/aggregate.h"

#include <cmath>
#include <set>
#include <span>

#include "tasks/statistics.h"

namespace kv {
namespace {

std::set<std::string> metric_names(const std::vector<Scores>& scores) {
  std::set<std::string> names;
  for (const Scores& sample : scores) {
    for (const auto& [name, value] : sample) names.insert(name);
  }
  return names;
}

// The values of one metric with the token counts of the samples that have it.
struct Column {
  std::vector<double> values;
  std::vector<double> tokens;

  Column(const std::vector<Scores>& scores, const std::string& name) {
    for (const Scores& sample : scores) {
      const auto value = sample.find(name);
      if (value == sample.end()) continue;
      const auto count = sample.find("tokens");
      values.push_back(value->second);
      tokens.push_back(count == sample.end() ? 1 : count->second);
    }
  }

  double weighted_mean(std::span<const size_t> samples) const {
    double sum = 0, count = 0;
    for (size_t i : samples) {
      sum += values[i] * tokens[i];
      count += tokens[i];
    }
    return sum / count;
  }
};

Aggregate plain_mean(const std::vector<double>& values) {
  const Interval interval = interval_of_mean(values);
  return {mean(values), interval.low, interval.high, static_cast<int>(values.size())};
}

Aggregate token_mean(const Column& column) {
  std::vector<size_t> all(column.values.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = i;
  const Interval interval = bootstrap_interval(
      all.size(), [&](std::span<const size_t> drawn) { return column.weighted_mean(drawn); });
  return {column.weighted_mean(all), interval.low, interval.high, static_cast<int>(all.size())};
}

}  // namespace

std::map<std::string, Aggregate> aggregate_means(const std::vector<Scores>& scores) {
  std::map<std::string, Aggregate> result;
  for (const std::string& name : metric_names(scores)) {
    result[name] = plain_mean(Column(scores, name).values);
  }
  return result;
}

std::map<std::string, Aggregate> aggregate_per_token(const std::vector<Scores>& scores,
                                                     bool mean_of_ppl) {
  std::map<std::string, Aggregate> result;
  for (const std::string& name : metric_names(scores)) {
    const Column column(scores, name);
    if (name == "tokens") {
      double sum = 0;
      for (double count : column.values) sum += count;
      result[name] = {sum, sum, sum, static_cast<int>(column.values.size())};
    } else if (name == "ppl" && mean_of_ppl) {
      result[name] = plain_mean(column.values);
    } else if (name != "ppl") {
      result[name] = token_mean(column);
    }
  }
  if (!mean_of_ppl && result.count("nll")) {
    const Aggregate& nll = result["nll"];
    result["ppl"] = {std::exp(nll.value), std::exp(nll.ci_low), std::exp(nll.ci_high), nll.n};
  }
  return result;
}

std::map<std::string, Aggregate> aggregate_scores(const std::string& canonical,
                                                  const std::vector<Scores>& scores) {
  if (canonical.rfind("perplexity", 0) == 0) {
    return aggregate_per_token(scores, canonical.find("join=rows") != std::string::npos);
  }
  return aggregate_means(scores);
}

std::map<std::string, Aggregate> Task::aggregate(const std::vector<Scores>& scores) const {
  return aggregate_scores(canonical(), scores);
}

}  // namespace kv
