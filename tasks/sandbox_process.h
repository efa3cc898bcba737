// A child process that cannot outlive its time or leave others behind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kv {

struct ProcessRequest {
  std::vector<std::string> arguments;  // [0] is the absolute path of the program
  std::string folder{"/"};             // working folder
  std::string input;                   // its descriptor 0
  int wall_seconds = 10;
  size_t output_bytes = 16 << 10;  // kept of descriptors 1 and 2 together
};

struct ProcessResult {
  int status = -1;  // exit status; 128 + signal where one ended it
  bool timed_out = false;
  std::string output;   // descriptors 1 and 2
  std::string channel;  // descriptor 3
};

// The user and group that programs run as where the runner is root: `nobody`.
constexpr unsigned kNobody = 65534;

// Runs it to its end with an empty environment, in a session of its own, as kNobody where we are
// root, and then kills every process that it started. Throws Error(kUsage) where the system refuses
// a descriptor or a process.
ProcessResult run_process(const ProcessRequest& request);

}  // namespace kv
