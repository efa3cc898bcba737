// The `run` map of a config.
#pragma once

#include <filesystem>
#include <vector>

#include "engine/value.h"
#include "runner/config.h"

namespace kv {

const std::vector<ParamSpec>& run_option_table();

// map: kMap or kNull. `out` is taken relative to the folder of config_file; its default is
// results/<config's name> there. Throws Error(kUsage).
RunOptions read_run_options(const Value& map, const std::filesystem::path& config_file);

}  // namespace kv
