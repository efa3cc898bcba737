// Runs a Python program that a model wrote, and tests of it, where they can do no harm.
//
// With bubblewrap a program has its own namespaces (no network, no other process visible), a
// read-only system, an empty environment and a small folder in memory that is gone afterwards. As
// root the runner first becomes `nobody`. Limits on CPU and wall time, address space, sizes of
// files, number of processes and output hold in both kinds.
//
// Passing means that the tests ran to their end: the harness then writes a random word to a channel
// of its own (tasks/sandbox_driver.h says how that is kept from the program). An exit status alone
// never passes. A program that attacks the interpreter's own memory could still claim to have
// passed; it cannot leave the sandbox by that.
//
// `rlimits` keeps the limits, the fresh folder, the empty environment and the change of user, but
// not the namespaces: the program sees the network and all that its user may read, and where the
// runner is not root it can kill the watcher that would end its children.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace kv {

enum class SandboxKind { kBubblewrap, kRlimits };

struct SandboxLimits {
  int wall_seconds = 10;
  int cpu_seconds = 10;                   // for each process
  int64_t address_space_bytes = 1 << 30;  // for each process
  int64_t file_bytes = 16 << 20;          // of one file
  int64_t folder_bytes = 64 << 20;        // of all files together (bubblewrap only)
  int processes = 16;                     // processes and threads together
  size_t output_bytes = 16 << 10;         // kept; what comes after that is dropped
};

// What is run: `candidate` as the main module, then `test` with what the candidate defined.
struct SandboxProgram {
  std::string candidate;
  std::string test;
  std::string entry_point;  // may be called like a builtin function; else tests see the builtin
};

struct SandboxResult {
  bool passed = false;
  bool timed_out = false;
  std::string output;  // stdout and stderr together
};

class Sandbox {
 public:
  // bubblewrap: its program; "": /usr/bin/bwrap or /usr/local/bin/bwrap.
  explicit Sandbox(SandboxKind kind, const SandboxLimits& limits = {},
                   const std::string& bubblewrap = "");

  // Why programs cannot be run here; "" where they can. Runs a trial that also checks that the
  // isolation holds.
  std::string problem() const;

  // Whatever the program does is a result; nothing of it is left when this returns. Throws Error
  // (kUsage) where the sandbox itself could not be set up.
  SandboxResult run(const SandboxProgram& program) const;

 private:
  SandboxResult run_unchecked(const SandboxProgram& program, std::string& trouble) const;

  SandboxKind kind_;
  SandboxLimits limits_;
  std::string bubblewrap_;  // "": not installed
  std::string python_;      // likewise
};

// "bubblewrap" or "rlimits", as in configs.
SandboxKind sandbox_kind(const std::string& name);

}  // namespace kv
