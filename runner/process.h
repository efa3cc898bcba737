// Running another program, never through a shell.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace kv {

// Runs arguments[0], looked up in PATH, and waits for it. Its stdout goes to our stderr: stdout is
// for results. The exit status, 128 + the number of the signal that ended it, or nothing where
// there is no such program. Throws Error(kData) where it cannot be started for another reason.
std::optional<int> run_program(const std::vector<std::string>& arguments);

}  // namespace kv
