// What the bench programs share: their arguments and how they end.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "engine/error.h"

namespace kv {

struct BenchArguments {
  int argc;
  char** argv;

  bool has(int i) const { return argc > i; }
  std::string text(int i) const { return argv[i]; }
  // The whole number >= 1 in the place of argument i, `otherwise` where there are fewer.
  int number(int i, int otherwise) const {
    if (!has(i)) return otherwise;
    char* end = nullptr;
    const long value = std::strtol(argv[i], &end, 10);
    if (*end != '\0' || value < 1 || value > 1 << 30)
      throw_usage("argument {}: expected a whole number >= 1, found '{}'", i, argv[i]);
    return static_cast<int>(value);
  }
  std::vector<std::string> from(int i) const {
    return has(i) ? std::vector<std::string>(argv + i, argv + argc) : std::vector<std::string>();
  }
};

// run(arguments), with errors on stderr and as exit status. usage: "NAME MODEL [...]"; the model is
// required.
template <typename Run>
int bench_main(const char* usage, int argc, char** argv, const Run& run) {
  if (argc < 2) {
    fmt::print(stderr, "usage: {}\n", usage);
    return 2;
  }
  try {
    run(BenchArguments{argc, argv});
    return 0;
  } catch (const Error& e) {
    fmt::print(stderr, "{}: {}\n", argv[0], e.what());
    return e.exit_status();
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}: {}\n", argv[0], e.what());
    return 4;
  }
}

}  // namespace kv
