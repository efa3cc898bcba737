#include "compress/select.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "engine/error.h"

namespace kv {
namespace {

bool larger(float a, float b) {
  return (std::isnan(a) && !std::isnan(b)) || a > b;
}

std::vector<int32_t> top_by_position(std::span<const float> scores, int k) {
  std::vector<int32_t> rows(scores.size());
  std::iota(rows.begin(), rows.end(), 0);
  std::nth_element(rows.begin(), rows.begin() + k, rows.end(), [&](int32_t a, int32_t b) {
    if (larger(scores[a], scores[b])) return true;
    if (larger(scores[b], scores[a])) return false;
    return a < b;
  });
  rows.resize(k);
  return rows;
}

// The same calls of libstdc++'s algorithms on the same pairs as torch's CPU kernel makes: among
// equal scores the winners are whatever those algorithms leave in front.
std::vector<int32_t> top_by_torch(std::span<const float> scores, int k) {
  using Entry = std::pair<float, int64_t>;
  const auto n = static_cast<int64_t>(scores.size());
  std::vector<Entry> entries(n);
  for (int64_t i = 0; i < n; ++i) entries[i] = {scores[i], i};
  const auto before = [](const Entry& a, const Entry& b) { return larger(a.first, b.first); };
  if (k > 0 && int64_t{k} * 64 <= n) {
    std::partial_sort(entries.begin(), entries.begin() + k, entries.end(), before);
  } else if (k > 0) {
    // Which k come first is settled here; torch's sort of the first k - 1 only orders them.
    std::nth_element(entries.begin(), entries.begin() + k - 1, entries.end(), before);
  }
  std::vector<int32_t> rows(k);
  for (int i = 0; i < k; ++i) rows[i] = static_cast<int32_t>(entries[i].second);
  return rows;
}

}  // namespace

int rows_kept(int n_rows, double ratio) {
  if (n_rows == 0) return 0;
  return std::max(1, static_cast<int>(std::trunc(n_rows * (1.0 - ratio))));
}

double ratio_keeping(int n_rows, int keep) {
  if (keep >= n_rows) return 0;
  double ratio = 1.0 - static_cast<double>(keep) / n_rows;
  // Rounding may have left a hair less than keep rows; half a row more is never a whole number.
  if (rows_kept(n_rows, ratio) != keep) ratio = 1.0 - (keep + 0.5) / n_rows;
  KV_CHECK(rows_kept(n_rows, ratio) == keep, "{} of {}", keep, n_rows);
  return ratio;
}

std::vector<int32_t> top_rows(std::span<const float> scores, int k, Ties ties) {
  KV_CHECK(k >= 0 && k <= static_cast<int>(scores.size()), "k {} of {}", k, scores.size());
  auto rows = ties == Ties::kTorch ? top_by_torch(scores, k) : top_by_position(scores, k);
  std::sort(rows.begin(), rows.end());
  return rows;
}

std::vector<int32_t> select_rows(std::span<const float> scores, int k, const Protection& protection,
                                 Ties ties) {
  const int n = static_cast<int>(scores.size());
  std::vector<int32_t> kept;
  std::vector<int32_t> others;  // rows that are not in `always`
  for (int32_t row = 0; row < n; ++row) {
    const bool always = !protection.always.empty() && protection.always[row];
    (always ? kept : others).push_back(row);
  }
  const auto room = [&] { return std::max(0, std::min(k, n) - static_cast<int>(kept.size())); };

  if (ties == Ties::kPosition) {
    const auto move_to_kept = [&](auto begin, auto end) {
      kept.insert(kept.end(), begin, end);
      others.erase(begin, end);
    };
    const auto first_end = std::lower_bound(others.begin(), others.end(), protection.first);
    const auto n_first = static_cast<int>(first_end - others.begin());
    move_to_kept(others.begin(), others.begin() + std::min(n_first, room()));
    const auto newest = std::lower_bound(others.begin(), others.end(), n - protection.newest);
    const auto n_newest = static_cast<int>(others.end() - newest);
    move_to_kept(others.end() - std::min(n_newest, room()), others.end());
  }

  std::vector<float> competing(others.size());
  for (size_t i = 0; i < others.size(); ++i) competing[i] = scores[others[i]];
  for (const int32_t i : top_rows(competing, room(), ties)) kept.push_back(others[i]);
  std::sort(kept.begin(), kept.end());
  return kept;
}

}  // namespace kv
