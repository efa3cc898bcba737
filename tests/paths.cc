#include "tests/paths.h"

namespace kv {

const std::filesystem::path& source_dir() {
  static const std::filesystem::path folder = KV_SOURCE_DIR;
  return folder;
}

const std::filesystem::path& build_dir() {
  static const std::filesystem::path folder = KV_BINARY_DIR;
  return folder;
}

}  // namespace kv
