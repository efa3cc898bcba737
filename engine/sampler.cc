#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/error.h"
#include "kernels/kernels.h"

namespace kv {
namespace {

// The finaliser of splitmix64: every input bit reaches every output bit.
uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

double counter_random(uint64_t seed, uint64_t sample, uint64_t step) {
  const uint64_t bits = mix(mix(mix(seed) ^ sample) ^ step);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  if (!(options_.temperature >= 0)) {
    throw_usage("temperature must be 0 (greedy) or more, found {}", options_.temperature);
  }
  if (!(options_.top_p > 0 && options_.top_p <= 1)) {
    throw_usage("top_p must be above 0 and at most 1, found {}", options_.top_p);
  }
}

int32_t Sampler::next(const float* row, int vocab, uint64_t sample, uint64_t step) {
  const auto best = static_cast<int32_t>(kernels().argmax(row, vocab));
  if (options_.temperature == 0) return best;
  weights_.resize(static_cast<size_t>(vocab));
  double total = 0;
  for (int i = 0; i < vocab; ++i) {
    weights_[i] = std::exp((static_cast<double>(row[i]) - row[best]) / options_.temperature);
    total += weights_[i];
  }
  order_.resize(static_cast<size_t>(vocab));
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(),
                   [&](int32_t a, int32_t b) { return weights_[a] > weights_[b]; });
  // The nucleus: at least one token, and no more once its share reaches top_p.
  size_t n = 0;
  double nucleus = 0;
  while (n < order_.size() && (n == 0 || nucleus < options_.top_p * total)) {
    nucleus += weights_[order_[n++]];
  }
  double left = counter_random(options_.seed, sample, step) * nucleus;
  for (size_t i = 0; i + 1 < n; ++i) {
    left -= weights_[order_[i]];
    if (left < 0) return order_[i];
  }
  return order_[n - 1];
}

}  // namespace kv
