// The Python program that runs inside the sandbox: reads what to run, sets limits, runs it.
#pragma once

namespace kv {

// Given to `python3 -c`. Input on descriptor 0: one line of fields, then the candidate, then the
// test (tasks/sandbox.cc writes it). Output on descriptor 3: "ready\n" before the candidate starts,
// the secret word after its test has ended.
extern const char kSandboxDriver[];

}  // namespace kv
