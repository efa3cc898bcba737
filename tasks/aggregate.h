// From the scores of a cell's samples to the values of the cell.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tasks/task.h"

namespace kv {

// Each metric alone: the mean over the samples that have it; Wilson's interval where all are 0 or
// 1, else the bootstrap.
std::map<std::string, Aggregate> aggregate_means(const std::vector<Scores>& scores);

// Samples with "nll" and "tokens". nll and everything else that is "per token" is the mean over all
// tokens of all samples; ppl is exp(nll), or with mean_of_ppl the mean of the samples'
// perplexities; tokens is the sum. The intervals resample whole samples, since tokens of one text
// are not independent.
std::map<std::string, Aggregate> aggregate_per_token(const std::vector<Scores>& scores,
                                                     bool mean_of_ppl);

// What Task::aggregate() of the task with this canonical text returns, for reports that are rebuilt
// where the task's data is no longer at hand.
std::map<std::string, Aggregate> aggregate_scores(const std::string& canonical,
                                                  const std::vector<Scores>& scores);

}  // namespace kv
