#include "runner/logits.h"

#include <xxhash.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/error.h"
#include "kernels/kernels.h"

namespace kv {

struct LogitsHash::State {
  XXH3_state_t* xxh = XXH3_createState();
  State() { XXH3_64bits_reset(xxh); }
  ~State() { XXH3_freeState(xxh); }
};

LogitsHash::LogitsHash() : state_(std::make_unique<State>()) {}
LogitsHash::~LogitsHash() = default;
LogitsHash::LogitsHash(LogitsHash&&) noexcept = default;
LogitsHash& LogitsHash::operator=(LogitsHash&&) noexcept = default;

void LogitsHash::add(const float* rows, int64_t n_values) {
  XXH3_64bits_update(state_->xxh, rows, static_cast<size_t>(n_values) * sizeof(float));
}

std::string LogitsHash::hex() const {
  return fmt::format("{:016x}", XXH3_64bits_digest(state_->xxh));
}

RowFigures row_figures(const float* row, int vocab) {
  return {kernels().log_sum_exp(row, vocab), greedy_token(row, vocab)};
}

double negative_log_likelihood(const float* row, int vocab, int32_t token) {
  return kernels().log_sum_exp(row, vocab) - static_cast<double>(row[token]);
}

int32_t greedy_token(const float* row, int vocab) {
  return static_cast<int32_t>(kernels().argmax(row, vocab));
}

int32_t greedy_token_but(const float* row, int vocab, std::span<const int32_t> others) {
  std::vector<float> allowed(row, row + vocab);
  for (const int32_t token : others)
    allowed[static_cast<size_t>(token)] = -std::numeric_limits<float>::infinity();
  return greedy_token(allowed.data(), vocab);
}

double kl_divergence(const float* full, double full_norm, const float* other, double other_norm,
                     int vocab) {
  thread_local std::vector<float> p;  // full's probabilities
  p.resize(static_cast<size_t>(vocab));
  for (int i = 0; i < vocab; ++i)
    p[i] = static_cast<float>(static_cast<double>(full[i]) - full_norm);
  kernels().exp_inplace(p.data(), vocab);
  // Lanes, so that the compiler may take several at once without changing the order of a sum.
  constexpr int kSums = 16;
  std::array<double, kSums> sums{};
  const double shift = full_norm - other_norm;
  const auto term = [&](int i) {
    return p[i] * (static_cast<double>(full[i]) - static_cast<double>(other[i]) - shift);
  };
  int i = 0;
  for (; i + kSums <= vocab; i += kSums) {
    for (int lane = 0; lane < kSums; ++lane) sums[lane] += term(i + lane);
  }
  for (; i < vocab; ++i) sums[i % kSums] += term(i);
  double sum = 0;
  for (const double lane : sums) sum += lane;
  return sum;
}

double kl_divergence(const float* full, const float* other, int vocab) {
  return kl_divergence(full, kernels().log_sum_exp(full, vocab), other,
                       kernels().log_sum_exp(other, vocab), vocab);
}

}  // namespace kv
