// What is taken from rows of logits: their hash, the cost of a token, the most likely token.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
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

// What every use of a row (vocab) needs of it.
struct RowFigures {
  double norm = 0;  // log of the sum of exponentials, taken in double
  int32_t top = 0;  // the most likely token; the lowest id wins a tie
};
RowFigures row_figures(const float* row, int vocab);

// -log p(token), nats, from one row (vocab); the sum of exponentials is taken in double.
double negative_log_likelihood(const float* row, int vocab, int32_t token);

// The most likely token of one row (vocab); the lowest id wins a tie.
int32_t greedy_token(const float* row, int vocab);
// The same of the tokens that are not among `others`.
int32_t greedy_token_but(const float* row, int vocab, std::span<const int32_t> others);

// KL(full || other) in nats of two rows (vocab), given the norms of both: the probabilities are
// float, everything else double.
double kl_divergence(const float* full, double full_norm, const float* other, double other_norm,
                     int vocab);
double kl_divergence(const float* full, const float* other, int vocab);

}  // namespace kv
