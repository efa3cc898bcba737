// What was recorded of a sequence's queries while it ran, for policies to look at.
#pragma once

#include <utility>
#include <vector>

#include "engine/kv_policy.h"
#include "engine/query_statistics.h"

namespace kv {

// Queries of the last n_window tokens of every layer, rotated at their original positions.
struct QueryWindow {
  int n_window = 0;
  std::vector<float> queries;  // (n_layers, n_heads, n_window, head_dim)
};

struct RecordedInputs {
  QueryWindow window;
  std::vector<QueryMoments> query_moments;        // sums behind query_statistics, which may go on
  std::vector<QueryStatistics> query_statistics;  // one for each of needs.query_statistics
  std::vector<double> attention_received;  // (n_layers, n_heads, n_tokens), or empty: not asked for
  // For each of needs.repeats: (n_layers, n_kv_heads, n_tokens).
  std::vector<std::pair<RepeatNeeds, std::vector<float>>> repeat_scores;
};

}  // namespace kv
