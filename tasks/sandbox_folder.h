// A temporary folder that can be removed whatever a program left in it.
#pragma once

#include <string>

namespace kv {

class SandboxFolder {
 public:
  // owner: who may write it besides root; -1: ourselves. Throws Error(kUsage).
  explicit SandboxFolder(int owner);
  ~SandboxFolder();  // removes it: links are not followed, depth and permissions do not matter
  SandboxFolder(const SandboxFolder&) = delete;
  SandboxFolder& operator=(const SandboxFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace kv
