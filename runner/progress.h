// How far a run has come: a bar with the time left on a terminal, else a line now and then.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace kv {

class ProgressBar {
 public:
  // total: samples to answer. Prints nothing where quiet. NO_COLOR and dumb terminals get plain
  // text.
  ProgressBar(int64_t total, bool quiet);
  ~ProgressBar();

  void add(int64_t n, const std::string& what);
  void clear();  // wipes the bar before something else is printed; it comes back with the next add

  // The text of the bar: "[#####-----]  50 % 10/20, 1:05 left, snapkv". width: of the bar,
  // characters.
  static std::string render(int64_t done, int64_t total, double elapsed_s, const std::string& what,
                            int width);

 private:
  using Clock = std::chrono::steady_clock;

  int64_t total_, done_ = 0;
  bool quiet_, terminal_, color_;
  bool shown_ = false;
  Clock::time_point start_, last_;
};

// "0:07", "12:30", "3:02:10"
std::string format_duration(double seconds);

}  // namespace kv
