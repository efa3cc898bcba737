// Where the time of a run goes.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "engine/session.h"

namespace kv {

// Wall time and arithmetic of one kind of work.
struct Phase {
  double seconds = 0;
  double flops = 0;    // Session::flops_computed()
  int64_t tokens = 0;  // that ran through the layers
};

// "prefill", "compress", "suffix", "decode", "compare" of one model.
using Phases = std::map<std::string, Phase>;

// Adds what happens while it lives to one phase.
class PhaseTimer {
 public:
  PhaseTimer(Phase& phase, const Session& session)
      : phase_(phase),
        session_(session),
        start_(Clock::now()),
        flops_(session.flops_computed()),
        tokens_(session.tokens_computed()) {}
  ~PhaseTimer() {
    phase_.seconds += std::chrono::duration<double>(Clock::now() - start_).count();
    phase_.flops += session_.flops_computed() - flops_;
    phase_.tokens += session_.tokens_computed() - tokens_;
  }
  PhaseTimer(const PhaseTimer&) = delete;
  PhaseTimer& operator=(const PhaseTimer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  Phase& phase_;
  const Session& session_;
  Clock::time_point start_;
  double flops_;
  int64_t tokens_;
};

}  // namespace kv
