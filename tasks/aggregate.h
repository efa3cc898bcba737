// From the scores of a cell's samples to the values of the cell.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "tasks/task.h"

namespace kv {

// How the samples' values of one metric become the cell's.
enum class Pooling {
  kMean,          // every sample counts once
  kTokenMean,     // every counted token counts once: weighted by the samples' "tokens", if any
  kExpTokenMean,  // exp of the token mean of "nll": perplexity
  kSum,
};

// canonical: the task's (name and every parameter). In perplexity all metrics are per token, except
// that with join=rows ppl is the mean of the rows'. Everywhere else: kMean, but what compares with
// the full cache token by token (kld, top1_agreement) is no share of samples: kTokenMean.
Pooling pooling_of(const std::string& canonical, const std::string& metric);

// One metric of the samples that have it, in order.
class MetricColumn {
 public:
  MetricColumn(const std::vector<Scores>& scores, const std::string& metric, Pooling pooling);

  size_t size() const { return values_.size(); }
  double value(
      std::span<const size_t> samples) const;  // of a choice of samples, repeats allowed; not empty
  Aggregate aggregate()
      const;  // kMean of 0 and 1: Wilson's interval; else the bootstrap over whole samples

 private:
  Pooling pooling_;
  std::vector<double> values_;  // kExpTokenMean: nll
  std::vector<double> tokens_;
};

// What Task::aggregate() of the task with this canonical text returns, for reports that are rebuilt
// where the task's data is no longer at hand.
std::map<std::string, Aggregate> aggregate_scores(const std::string& canonical,
                                                  const std::vector<Scores>& scores);

}  // namespace kv
