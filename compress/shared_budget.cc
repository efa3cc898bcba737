#include "compress/shared_budget.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace kv {
namespace {

// A row of a layer.
struct Entry {
  float score;
  int32_t head, row;
  int32_t rank;  // among equal scores: the lower first
};

// Rows of one head that stay whatever the others have.
std::vector<int32_t> safe_rows(const std::vector<float>& scores, const Protection& protection,
                               int even, double alpha, Ties ties) {
  const int n_safe = std::max(1, static_cast<int>(even * alpha));
  const int most = std::min(even, static_cast<int>(scores.size()));
  return select_rows(scores, std::min(n_safe, most), protection, ties);
}

// Sinks rank from the first on, a window from its newest row on, so that the order of select.h
// holds across heads too.
int32_t rank_of(int32_t row, int32_t n_rows, const Protection& protection) {
  return row >= n_rows - protection.newest ? n_rows - 1 - row : row;
}

// The n smallest entries as torch's topk over the negated scores of all heads finds them.
std::vector<Entry> without_torchs_smallest(const std::vector<Entry>& entries, int n) {
  std::vector<float> negated;
  for (const Entry& e : entries) negated.push_back(-e.score);
  std::vector<bool> pruned(entries.size(), false);
  for (const int32_t i : top_rows(negated, n, Ties::kTorch)) pruned[i] = true;
  std::vector<Entry> kept;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!pruned[i]) kept.push_back(entries[i]);
  }
  return kept;
}

std::vector<Entry> best_by_position(std::vector<Entry> entries, int n) {
  const auto better = [](const Entry& a, const Entry& b) {
    const bool a_nan = std::isnan(a.score), b_nan = std::isnan(b.score);  // NaN is the largest
    if (a_nan != b_nan) return a_nan;
    if (!a_nan && a.score != b.score) return a.score > b.score;
    return a.rank != b.rank ? a.rank < b.rank : a.head < b.head;
  };
  std::nth_element(entries.begin(), entries.begin() + n, entries.end(), better);
  entries.resize(n);
  return entries;
}

}  // namespace

std::vector<std::vector<int32_t>> shared_rows_kept(const LayerScores& scored,
                                                   const std::vector<int>& even, double alpha,
                                                   Ties ties) {
  constexpr float kSafe = std::numeric_limits<float>::max();
  std::vector<Entry> entries;
  int n_kept = 0, n_safe = 0;
  for (size_t h = 0; h < scored.scores.size(); ++h) {
    const auto n_rows = static_cast<int32_t>(scored.scores[h].size());
    const Protection& protection = scored.protection[h];
    const auto first = static_cast<int64_t>(entries.size());
    for (int32_t row = 0; row < n_rows; ++row) {
      entries.push_back(
          {scored.scores[h][row], static_cast<int32_t>(h), row, rank_of(row, n_rows, protection)});
    }
    n_kept += even[h];
    for (const int32_t row : safe_rows(scored.scores[h], protection, even[h], alpha, ties)) {
      entries[first + row].score = kSafe;
      ++n_safe;
    }
  }
  n_kept = std::min(n_kept, static_cast<int>(entries.size()));
  n_kept = std::max(n_kept, n_safe);  // only the user's `protect` can ask for more
  std::vector<std::vector<int32_t>> rows(scored.scores.size());
  const int n_pruned = static_cast<int>(entries.size()) - n_kept;
  for (const Entry& e : ties == Ties::kTorch ? without_torchs_smallest(entries, n_pruned)
                                             : best_by_position(entries, n_kept)) {
    rows[e.head].push_back(e.row);
  }
  for (auto& head : rows) std::sort(head.begin(), head.end());
  return rows;
}

}  // namespace kv
