// Means and 95 % intervals, the same numbers on every machine and in every run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace kv {

struct Interval {
  double low = 0, high = 0;
};

constexpr int kBootstrapResamples = 2000;

// A counter-based generator: the bits depend on (seed, stream, counter) alone, never on how many
// numbers were drawn before or by whom.
uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t counter);

// NaN for no values.
double mean(std::span<const double> values);

// Wilson's score interval for a share of successes, 95 %. 0 <= successes <= n; n = 0 gives [0, 1].
Interval wilson_interval(double successes, int n);

// Percentile bootstrap, 95 %: the samples 0..n-1 are drawn n times with replacement,
// kBootstrapResamples times over; statistic sees the drawn indices, (n). One sample gives an
// interval without width: it says nothing about spread.
Interval bootstrap_interval(size_t n,
                            const std::function<double(std::span<const size_t>)>& statistic);

// The same for several groups of samples, each drawn on its own: statistic sees the drawn indices of
// each group, (group sizes). sizes: none is 0. With one group it is bootstrap_interval.
Interval stratified_bootstrap(
    std::span<const size_t> sizes,
    const std::function<double(std::span<const std::vector<size_t>>)>& statistic);

// Wilson where every value is 0 or 1, else the bootstrap of the mean. values: (n), not empty.
Interval interval_of_mean(std::span<const double> values);

}  // namespace kv
