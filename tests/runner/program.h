// Runs the built program in tests.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/paths.h"

namespace kv {

inline std::string file_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

struct ProgramResult {
  int status = -1;  // exit status
  std::string out, err;
};

// A folder of its own for each test, removed at the end.
class TestFolder {
 public:
  TestFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kv_test_XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

  // arguments are pasted into a shell line; tests quote what needs it. environment: "NAME=value ".
  ProgramResult run(const std::string& arguments, const std::string& environment = "") const {
    const std::filesystem::path out = path_ / "stdout.txt", err = path_ / "stderr.txt";
    const std::string command = "cd '" + path_.string() + "' && " + environment + " '" +
                                build_dir().string() + "/kvengine' " + arguments + " >'" +
                                out.string() + "' 2>'" + err.string() + "'";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), file_text(out),
            file_text(err)};
  }

 private:
  std::filesystem::path path_;
};

inline std::string tiny_model(const std::string& name = "tiny-qwen2") {
  return source_dir().string() + "/tests/data/" + name;
}

}  // namespace kv
