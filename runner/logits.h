// What is taken from rows of logits: their hash, the cost of a token, the most likely token.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace kv {

// xxh3-64 over the bits of logits rows, in the order in which they are added.
class LogitsHash {
 public:
  LogitsHash();
  ~LogitsHash();
  LogitsHash(LogitsHash&&) noexcept;
  LogitsHash& operator=(LogitsHash&&) noexcept;

  void add(const float* rows, int64_t n_values);
  std::string hex() const;  // 16 digits

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// -log p(token), nats, from one row (vocab); the sum of exponentials is taken in double.
double negative_log_likelihood(const float* row, int vocab, int32_t token);

// The most likely token of one row (vocab); the lowest id wins a tie.
int32_t greedy_token(const float* row, int vocab);

// KL(full || other) in nats of two rows (vocab).
double kl_divergence(const float* full, const float* other, int vocab);

}  // namespace kv
