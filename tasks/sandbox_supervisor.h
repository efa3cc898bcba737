// What runs between fork and exec: only system calls, since other threads of the runner may hold
// any lock.
#pragma once

#include <sys/types.h>

namespace kv {

struct SupervisedProgram {
  char* const* arguments = nullptr;  // ends with null
  const char* folder = nullptr;
  int fds[4] = {};  // become descriptors 0 to 3 of the program; all others are closed
  int wall_seconds = 0;
  unsigned drop_to = 0;  // user and group to become; 0: stay
  pid_t parent = 0;
};

// A program that ran into the wall limit; also a status that programs may choose themselves.
constexpr int kTimeoutStatus = 124;
// The program could not be started; descriptor 2 says why.
constexpr int kStartStatus = 125;

// Starts the program, waits for it or for the wall limit, kills all that descends from it, and ends
// with its status. Called in a fresh child; dies with the process `parent`.
[[noreturn]] void supervise(const SupervisedProgram& program);

}  // namespace kv
