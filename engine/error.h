// Two kinds of failure.
//
// Error: the user's world is wrong (a file, a key, a value). Caught in main(), printed as one
// message, exit 2 or 3. KV_CHECK: our own bug. Prints the expression with its values and aborts.
//
// The one header that every folder may include.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>

namespace kv {

// What the process exits with (interface: 2 bad usage or config, 3 model or data missing or
// malformed).
enum class ErrorKind { kUsage = 2, kData = 3 };

// The message names the file, the place in it, what was expected, what was found and what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }
  int exit_status() const { return static_cast<int>(kind_); }

 private:
  ErrorKind kind_;
};

// A wrong command line, config, spec string or request.
template <typename... Args>
[[noreturn]] void throw_usage(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::kUsage, fmt::format(format, std::forward<Args>(args)...));
}

// A model or data file that is missing, truncated or malformed.
template <typename... Args>
[[noreturn]] void throw_data(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::kData, fmt::format(format, std::forward<Args>(args)...));
}

namespace internal {
[[noreturn]] inline void check_failed(const char* file, int line, const char* expression,
                                      const std::string& values) {
  std::fprintf(stderr, "%s:%d: internal error: %s is false%s%s\n", file, line, expression,
               values.empty() ? "" : ": ", values.c_str());
  std::abort();
}
}  // namespace internal

}  // namespace kv

// KV_CHECK(n <= capacity, "n {} capacity {}", n, capacity)
#define KV_CHECK(condition, ...)                                                                   \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      ::kv::internal::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
    }                                                                                              \
  } while (false)
