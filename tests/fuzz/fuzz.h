// What every fuzz target does with an input: read it, and take a refusal (kv::Error) as an answer.
// Everything else (another exception, a crash, a sanitizer's report, a hang) is a finding.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

#include "engine/error.h"
#include "tests/temp_folder.h"

namespace kv {

// The folder of this process for inputs that are read as files.
inline const TempFolder& fuzz_folder() {
  static const TempFolder folder;
  return folder;
}

// What libFuzzer's entry point returns: the input was used.
inline int read_or_refuse(const uint8_t* data, size_t size,
                          const std::function<void(const std::string&)>& read) {
  try {
    read(std::string(reinterpret_cast<const char*>(data), size));
  } catch (const Error& error) {
    if (error.what()[0] == '\0') throw std::runtime_error("an error without a message");
  }
  return 0;
}

}  // namespace kv
