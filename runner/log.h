// run.log: what was printed, with times; and the talk on stderr.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>

namespace kv {

class RunLog {
 public:
  // Appends to `file`. quiet: nothing but errors goes to stderr. Throws Error(kData) where it
  // cannot be opened.
  RunLog(const std::filesystem::path& file, bool quiet);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  void say(const std::string& line);    // to run.log, and to stderr unless quiet
  void error(const std::string& line);  // to run.log and stderr
  void note(const std::string& line);   // to run.log only
  bool quiet() const { return quiet_; }

 private:
  std::FILE* file_ = nullptr;
  bool quiet_;
};

// "2026-03-01T12:00:00Z"
std::string utc_now();

}  // namespace kv
