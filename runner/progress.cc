#include "runner/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "engine/error.h"

namespace kv {
namespace {

constexpr double kSecondsBetweenLines = 15;    // not on a terminal
constexpr double kSecondsBetweenFrames = 0.1;  // on one

}  // namespace

std::string format_duration(double seconds) {
  const auto s = static_cast<int64_t>(std::max(0.0, seconds));
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

ProgressBar::ProgressBar(int64_t total, bool quiet)
    : total_(total), quiet_(quiet), start_(Clock::now()), last_(start_) {
  const char* term = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  const bool dumb = term == nullptr || std::strcmp(term, "dumb") == 0;
  terminal_ = isatty(STDERR_FILENO) == 1 && !dumb;
  color_ = terminal_ && (no_color == nullptr || *no_color == '\0');
}

ProgressBar::~ProgressBar() {
  clear();
}

std::string ProgressBar::render(int64_t done, int64_t total, double elapsed_s,
                                const std::string& what, int width) {
  const double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1;
  const auto filled = static_cast<size_t>(share * width);
  std::string text =
      fmt::format("[{:#<{}}{:-<{}}] {:3.0f} % {}/{}", "", filled, "",
                  static_cast<size_t>(width) - filled, std::floor(100 * share), done, total);
  if (done > 0 && done < total) {
    const double left = elapsed_s / static_cast<double>(done) * static_cast<double>(total - done);
    text += fmt::format(", {} left", format_duration(left));
  }
  if (!what.empty()) text += fmt::format(", {}", what);
  return text;
}

void ProgressBar::add(int64_t n, const std::string& what) {
  done_ += n;
  if (quiet_) return;
  const auto now = Clock::now();
  const double since = std::chrono::duration<double>(now - last_).count();
  if (since < (terminal_ ? kSecondsBetweenFrames : kSecondsBetweenLines) && done_ < total_) return;
  last_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  if (!terminal_) {
    std::fprintf(stderr, "%s\n", render(done_, total_, elapsed, what, 20).c_str());
    return;
  }
  const char* const on = color_ ? "\033[36m" : "";
  const char* const off = color_ ? "\033[0m" : "";
  std::fprintf(stderr, "\r\033[K%s%s%s", on,
               render(done_, total_, elapsed, what.substr(0, 40), 20).c_str(), off);
  std::fflush(stderr);
  shown_ = true;
}

void ProgressBar::clear() {
  if (!shown_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  shown_ = false;
}

}  // namespace kv
