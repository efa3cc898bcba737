// YAML and JSON text -> Value, every part with the place it came from; and back to JSON for
// manifests.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "engine/value.h"

namespace kv {

// One YAML document. Places read "smoke.yaml:14: compressors[2].ratio". Throws Error(kUsage) for
// syntax errors (with the line), keys that are given twice (with both lines), keys that are no
// plain words and more than one document.
Value parse_yaml(const std::string& text, const std::string& file);

// One JSON document. Places read "request.json: [0].prompt_ids[3]"; syntax errors name line and
// column. Throws Error(kUsage) for syntax errors and keys that are given twice.
Value parse_json(const std::string& text, const std::string& file);

// Gives `value` and everything inside the place "file: path".
void set_json_places(Value& value, const std::string& file, const std::string& path);

nlohmann::ordered_json to_json(const Value& value);

}  // namespace kv
