// Choosing the next token from one row of logits.
#pragma once

#include <cstdint>
#include <vector>

namespace kv {

// Uniform in [0, 1): a pure function of its arguments, so that draws never depend on order, batch
// or threads.
double counter_random(uint64_t seed, uint64_t sample, uint64_t step);

struct SamplingOptions {
  double temperature = 0;  // 0: greedy
  double top_p =
      1;  // (0, 1]: the smallest set of most likely tokens whose probabilities reach top_p
  uint64_t seed = 0;
};

class Sampler {
 public:
  // Throws Error(kUsage) for a temperature below 0 or a top_p outside (0, 1].
  explicit Sampler(const SamplingOptions& options);

  // row (vocab). Greedy takes the lowest id among equals and draws nothing.
  int32_t next(const float* row, int vocab, uint64_t sample, uint64_t step);

 private:
  SamplingOptions options_;
  std::vector<double> weights_;  // (vocab) exp((logit - max) / temperature)
  std::vector<int32_t> order_;   // ids by falling weight, rising id among equals
};

}  // namespace kv
