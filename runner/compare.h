// Two run folders, cell by cell, on the samples that both answered.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runner/results.h"
#include "runner/stats.h"

namespace kv {

// The first sample, in the order of the first folder's records, whose result differs.
struct FirstDifference {
  std::string sample_id;
  bool same_text = true;  // false: the generated texts differ
  // Tokens before the first one that differs; nothing where the ids are equal, and only the logits
  // are not, or where a record has no ids (schema 1).
  std::optional<int64_t> token;
};

struct ComparedMetric {
  double a = 0, b = 0;          // over each folder's own samples
  PairedDifference difference;  // b minus a, over the common samples
};

struct ComparedCell {
  std::string model, compressor, task;  // names
  double compression_ratio = 0;         // share of rows removed
  std::string task_spec, spec;          // canonical forms
  std::map<std::string, ComparedMetric> metrics;
  std::vector<std::string> metric_order;
  int n_common = 0;  // samples that both answered without an error
  int n_only_a = 0, n_only_b = 0;
  int n_same_logits = 0;                            // of the common ones
  std::optional<FirstDifference> first_difference;  // nothing: every common sample is the same
  std::string fingerprint_note;  // why equal scores are not expected; "" where they are
};

struct Comparison {
  std::vector<ComparedCell> cells;          // that both have, in the order of the first
  std::vector<std::string> only_a, only_b;  // "model / task / compressor", canonical
};

// records: the latest of each sample.
Comparison compare_runs(const std::vector<SampleRecord>& a, const std::vector<SampleRecord>& b);

}  // namespace kv
