#include "runner/env.h"

#include <oniguruma.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utf8proc.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/error.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

// The text after "key:" of the first such line of a /proc file, without leading blanks.
std::string proc_field(const char* file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, key.size(), key) != 0) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

int64_t kilobytes(const std::string& text) {
  return std::strtoll(text.c_str(), nullptr, 10) * 1024;
}

// Bytes that the control group still allows; -1 without a limit.
int64_t control_group_room() {
  int64_t limit = -1, used = 0;
  std::ifstream("/sys/fs/cgroup/memory.max") >> limit;  // fails on "max": limit becomes 0
  std::ifstream("/sys/fs/cgroup/memory.current") >> used;
  return limit > 0 ? std::max<int64_t>(0, limit - used) : -1;
}

}  // namespace

// Both are defined by CMakeLists.txt for this file alone.
std::string build_version() {
  return KV_VERSION;
}
std::string build_commit() {
  return KV_COMMIT;
}

std::string version_text() {
  const std::string commit = build_commit();
  return "kvengine " + build_version() + (commit.empty() ? "" : " (commit " + commit + ")");
}

std::string compiler_text() {
#if defined(__clang__)
  return "Clang " __clang_version__;
#else
  return "GNU " __VERSION__;
#endif
}

std::string cpu_name() {
  return proc_field("/proc/cpuinfo", "model name");
}

int default_threads() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
}

int64_t memory_available_bytes() {
  const int64_t available = kilobytes(proc_field("/proc/meminfo", "MemAvailable"));
  const int64_t group = control_group_room();
  return group >= 0 ? std::min(available, group) : available;
}

int64_t memory_peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

nlohmann::ordered_json environment_json() {
  nlohmann::ordered_json env;
  env["version"] = build_version();
  env["commit"] = build_commit();
  env["compiler"] = compiler_text();
  env["cpu"] = cpu_name();
  env["processors"] = default_threads();
  env["isa"] = isa_name(isa());
  env["memory_bytes"] = kilobytes(proc_field("/proc/meminfo", "MemTotal"));
  env["memory_available_bytes"] = memory_available_bytes();
  double load[3] = {0, 0, 0};
  getloadavg(load, 3);
  env["load"] = {load[0], load[1], load[2]};
  env["kernel"] = [] {
    std::ifstream in("/proc/sys/kernel/osrelease");
    std::string text;
    std::getline(in, text);
    return text;
  }();
  env["libraries"] = {
      {"oneTBB", thread_library_version()},
      {"fmt",
       fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100)},
      {"nlohmann_json", fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR,
                                    NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH)},
      {"oniguruma", onig_version()},
      {"utf8proc", utf8proc_version()},
      {"xxhash",
       fmt::format("{}.{}.{}", XXH_VERSION_MAJOR, XXH_VERSION_MINOR, XXH_VERSION_RELEASE)},
  };
  return env;
}

}  // namespace kv
