// What every fuzz target does with an input: read it, and take a refusal (kv::Error) as an answer.
// Everything else (another exception, a crash, a sanitizer's report, a hang) is a finding.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>

#include "engine/error.h"

namespace kv {

// A folder of this process for inputs that are read as files; it goes away at the end.
class FuzzFolder {
 public:
  FuzzFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "kvengine-fuzz-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = pattern;
  }
  ~FuzzFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  FuzzFolder(const FuzzFolder&) = delete;
  FuzzFolder& operator=(const FuzzFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    const std::filesystem::path file = path_ / name;
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
    return file;
  }

 private:
  std::filesystem::path path_;
};

// The folder that this process uses, made at the first call.
inline const FuzzFolder& fuzz_folder() {
  static const FuzzFolder folder;
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
