#include "runner/logits.h"

#include <xxhash.h>

#include <cmath>

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

double negative_log_likelihood(const float* row, int vocab, int32_t token) {
  return kernels().log_sum_exp(row, vocab) - static_cast<double>(row[token]);
}

int32_t greedy_token(const float* row, int vocab) {
  return static_cast<int32_t>(kernels().argmax(row, vocab));
}

double kl_divergence(const float* full, const float* other, int vocab) {
  const double full_norm = kernels().log_sum_exp(full, vocab);
  const double other_norm = kernels().log_sum_exp(other, vocab);
  double sum = 0;
  for (int i = 0; i < vocab; ++i) {
    const double log_p = static_cast<double>(full[i]) - full_norm;
    const double log_q = static_cast<double>(other[i]) - other_norm;
    sum += std::exp(log_p) * (log_p - log_q);
  }
  return sum;
}

}  // namespace kv
