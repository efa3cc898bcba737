// Which rows win: pure helpers that every eviction policy shares.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/kv_policy.h"

namespace kv {

// Order among equal scores (`ties`).
enum class Ties {
  kPosition,  // the lower row wins
  kTorch,     // as torch's topk on a CPU leaves them
};

// Rows kept of n_rows: max(1, trunc(n_rows * (1.0 - ratio))) in double, as kvpress 0.5.5 rounds; 0
// of 0 rows.
int rows_kept(int n_rows, double ratio);

// A ratio at which rows_kept(n_rows, ratio) is keep (1 <= keep < n_rows), 0 where keep >= n_rows.
double ratio_keeping(int n_rows, int keep);

// Indices of the k largest scores, rising. NaN counts as the largest. 0 <= k <= scores.size().
std::vector<int32_t> top_rows(std::span<const float> scores, int k, Ties ties);

// Rows that stay when about k of them may: indices, rising. Protected rows count among the k.
//
// Rows of `always` all stay, even where that is more than k. Under kPosition the places left go to
// sinks from the first on, then to the window from the newest on, then by score. Under kTorch sinks
// and window have no rank of their own: the scores decide alone (a method gives its protected rows
// the largest ones), in torch's order.
std::vector<int32_t> select_rows(std::span<const float> scores, int k, const Protection& protection,
                                 Ties ties);

}  // namespace kv
