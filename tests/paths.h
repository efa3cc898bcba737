#pragma once

#include <filesystem>

namespace kv {

const std::filesystem::path& source_dir();  // the checkout
const std::filesystem::path& build_dir();   // where the programs under test lie

}  // namespace kv
