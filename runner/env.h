// What machine, which build, which libraries: what goes into a run's manifest.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace kv {

std::string version_text();   // "kvengine 0.1.0 (commit 0123abcd)"
std::string build_version();  // "0.1.0"
std::string build_commit();   // "" where the build was not made from a git checkout
std::string compiler_text();  // "GNU 12.2.0"
std::string cpu_name();       // as /proc/cpuinfo says

int default_threads();             // processors this process may use
int64_t memory_available_bytes();  // MemAvailable, or the control group's limit where that is less
int64_t memory_peak_bytes();       // the largest resident set of this process so far

// Everything above, the instruction set, load averages and library versions.
nlohmann::ordered_json environment_json();

}  // namespace kv
