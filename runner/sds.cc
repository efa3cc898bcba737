#include "runner/sds.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

#include "tasks/aggregate.h"

namespace kv {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kFloor = 1e-3;  // kv-canary's, below which nothing is divided by
constexpr uint64_t kSeed = 0x5d5;
constexpr double kUndefinedShare = 0.05;

// Python's max(a, b): the first unless the second is larger, which a NaN never is.
double python_max(double a, double b) {
  return b > a ? b : a;
}

// The common samples of a pair, ready to be drawn from.
struct Columns {
  explicit Columns(const PairedScores& pair)
      : Columns(pair, common_samples(pair), pooling_of(pair.task_spec, pair.metric)) {}

  size_t size() const { return full.size(); }

  MetricColumn full, cell;

 private:
  struct Common {
    std::vector<Scores> full, cell;
  };

  Columns(const PairedScores& pair, const Common& common, Pooling pooling)
      : full(common.full, pair.metric, pooling), cell(common.cell, pair.metric, pooling) {}

  static Common common_samples(const PairedScores& pair) {
    Common common;
    for (const auto& [id, scores] : pair.cell) {
      const auto other = pair.full.find(id);
      if (other == pair.full.end() || !scores.count(pair.metric) ||
          !other->second.count(pair.metric)) {
        continue;
      }
      common.full.push_back(other->second);
      common.cell.push_back(scores);
    }
    return common;
  }
};

std::vector<size_t> all_of(size_t n) {
  std::vector<size_t> all(n);
  std::iota(all.begin(), all.end(), size_t{0});
  return all;
}

// n samples with replacement: the same for the same resample and task.
std::vector<size_t> drawn(size_t n, uint64_t resample, uint64_t task) {
  std::vector<size_t> samples(n);
  for (size_t i = 0; i < n; ++i) {
    samples[i] = random_bits(kSeed + task, resample, i) % n;
  }
  return samples;
}

struct Levels {
  double functional_full = 0, functional_cell = 0, ppl_full = 0, ppl_cell = 0;

  double gap() const {
    return degradation_gap(functional_full, functional_cell, ppl_full, ppl_cell);
  }
};

// samples_of(task, n): which of its n samples count.
template <typename SamplesOf>
Levels levels(const std::vector<Columns>& functional, const Columns& perplexity,
              SamplesOf samples_of) {
  Levels result;
  const double n_tasks = static_cast<double>(functional.size());
  for (size_t t = 0; t < functional.size(); ++t) {
    const std::vector<size_t> samples = samples_of(t, functional[t].size());
    result.functional_full += functional[t].full.value(samples) / n_tasks;
    result.functional_cell += functional[t].cell.value(samples) / n_tasks;
  }
  const std::vector<size_t> samples = samples_of(functional.size(), perplexity.size());
  result.ppl_full = perplexity.full.value(samples);
  result.ppl_cell = perplexity.cell.value(samples);
  return result;
}

Interval gap_interval(const std::vector<Columns>& functional, const Columns& perplexity) {
  std::vector<double> gaps;
  for (int resample = 0; resample < kBootstrapResamples; ++resample) {
    const double gap = levels(functional, perplexity, [resample](size_t task, size_t n) {
                         return drawn(n, static_cast<uint64_t>(resample), task);
                       }).gap();
    if (std::isfinite(gap)) gaps.push_back(gap);
  }
  if (static_cast<double>(gaps.size()) < (1 - kUndefinedShare) * kBootstrapResamples) {
    return {kNan, kNan};
  }
  std::sort(gaps.begin(), gaps.end());
  const auto quantile = [&gaps](double q) {
    return gaps[static_cast<size_t>(std::lround(q * static_cast<double>(gaps.size() - 1)))];
  };
  return {quantile(0.025), quantile(0.975)};
}

}  // namespace

double canary_sds(double functional_full, double functional_cell, double ppl_full,
                  double ppl_cell) {
  const double drop =
      python_max(0, (functional_full - functional_cell) / python_max(functional_full, kFloor));
  const double rise = python_max(0, (ppl_cell - ppl_full) / python_max(ppl_full, kFloor));
  return drop / python_max(rise, kFloor);
}

double degradation_gap(double functional_full, double functional_cell, double ppl_full,
                       double ppl_cell) {
  if (!(functional_full > 0) || !(ppl_cell > 0)) return kNan;
  return ppl_full / ppl_cell - functional_cell / functional_full;
}

Degradation degradation(const std::vector<PairedScores>& functional,
                        const PairedScores& perplexity) {
  std::vector<Columns> columns;
  Degradation result;
  for (const PairedScores& pair : functional) {
    Columns task(pair);
    if (task.size() == 0) continue;
    result.n_functional += static_cast<int>(task.size());
    columns.push_back(std::move(task));
  }
  const Columns quality(perplexity);
  result.n_perplexity = static_cast<int>(quality.size());
  if (columns.empty() || quality.size() == 0) {
    result.functional_full = result.functional_cell = result.ppl_full = result.ppl_cell = kNan;
    result.sds = result.gap = kNan;
    result.gap_interval = {kNan, kNan};
    return result;
  }
  const Levels point = levels(columns, quality, [](size_t, size_t n) { return all_of(n); });
  result.functional_full = point.functional_full;
  result.functional_cell = point.functional_cell;
  result.ppl_full = point.ppl_full;
  result.ppl_cell = point.ppl_cell;
  result.sds =
      canary_sds(point.functional_full, point.functional_cell, point.ppl_full, point.ppl_cell);
  result.gap = point.gap();
  result.gap_interval =
      std::isnan(result.gap) ? Interval{kNan, kNan} : gap_interval(columns, quality);
  return result;
}

}  // namespace kv
