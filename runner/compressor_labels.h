// Names that tell the compressors of a report apart.
#pragma once

#include <map>
#include <string>

namespace kv {

// What each compressor is called in tables and charts, by its canonical form: the short name where
// only the share removed differs, which has a column of its own; else with the parameters that
// differ, int4(group=32) and int4(group=64). short_names: by canonical form too.
std::map<std::string, std::string> compressor_labels(
    const std::map<std::string, std::string>& short_names);

}  // namespace kv
