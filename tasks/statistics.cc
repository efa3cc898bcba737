#include "tasks/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/error.h"

namespace kv {
namespace {

constexpr double kNormalQuantile = 1.959963984540054;  // 97.5 %

// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection that scatters consecutive
// counters.
uint64_t scatter(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// Linear interpolation between the order statistics. sorted: (n), n >= 1.
double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  if (sorted[below] == sorted[above]) return sorted[below];  // also keeps inf - inf out
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t counter) {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ULL;
  const uint64_t key = scatter(scatter(seed + kGolden) ^ (stream + 1) * kGolden);
  return scatter(key + (counter + 1) * kGolden);
}

double mean(std::span<const double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

Interval wilson_interval(double successes, int n) {
  if (n == 0) return {0, 1};
  const double share = successes / n;
  const double z2 = kNormalQuantile * kNormalQuantile;
  const double centre = (share + z2 / (2 * n)) / (1 + z2 / n);
  const double half =
      kNormalQuantile / (1 + z2 / n) * std::sqrt(share * (1 - share) / n + z2 / (4.0 * n * n));
  // At the ends the bound is exactly 0 or 1; the rounding of centre -+ half must not show.
  return {successes == 0 ? 0 : std::max(0.0, centre - half),
          successes == n ? 1 : std::min(1.0, centre + half)};
}

Interval bootstrap_interval(size_t n,
                            const std::function<double(std::span<const size_t>)>& statistic) {
  const size_t sizes[] = {n};
  return stratified_bootstrap(
      sizes, [&](std::span<const std::vector<size_t>> drawn) { return statistic(drawn.front()); });
}

Interval stratified_bootstrap(
    std::span<const size_t> sizes,
    const std::function<double(std::span<const std::vector<size_t>>)>& statistic) {
  std::vector<std::vector<size_t>> drawn;
  for (const size_t n : sizes) {
    KV_CHECK(n > 0);
    drawn.emplace_back(n);
  }
  std::vector<double> values(kBootstrapResamples);
  for (size_t resample = 0; resample < values.size(); ++resample) {
    for (size_t group = 0; group < drawn.size(); ++group) {
      const uint64_t n = sizes[group];
      for (size_t i = 0; i < n; ++i) {
        // The upper 32 bits scaled to [0, n): the bias of at most n / 2^32 is far below the
        // resampling noise.
        drawn[group][i] = static_cast<size_t>(((random_bits(group, resample, i) >> 32) * n) >> 32);
      }
    }
    values[resample] = statistic(drawn);
  }
  // A statistic without a value has no order, and so no percentiles.
  if (std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); })) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return {nan, nan};
  }
  std::sort(values.begin(), values.end());
  return {quantile(values, 0.025), quantile(values, 0.975)};
}

Interval interval_of_mean(std::span<const double> values) {
  KV_CHECK(!values.empty());
  const bool binary =
      std::all_of(values.begin(), values.end(), [](double v) { return v == 0 || v == 1; });
  if (binary) {
    const double successes = mean(values) * static_cast<double>(values.size());
    return wilson_interval(std::round(successes), static_cast<int>(values.size()));
  }
  return bootstrap_interval(values.size(), [&](std::span<const size_t> drawn) {
    double sum = 0;
    for (size_t i : drawn) sum += values[i];
    return sum / static_cast<double>(drawn.size());
  });
}

}  // namespace kv
