// Processor time, for shares that other programs on the machine do not change.
#pragma once

#include <time.h>

namespace kv {

// Of all threads of this process, seconds.
inline double process_cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Adds the processor time of its life to a sum.
class CpuTimer {
 public:
  explicit CpuTimer(double& sum) : sum_(sum), start_(process_cpu_seconds()) {}
  CpuTimer(const CpuTimer&) = delete;
  CpuTimer& operator=(const CpuTimer&) = delete;
  ~CpuTimer() { sum_ += process_cpu_seconds() - start_; }

 private:
  double& sum_;
  double start_;
};

}  // namespace kv
