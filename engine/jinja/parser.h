// Tokens -> syntax tree.
#pragma once

#include <string>

#include "engine/jinja/ast.h"

namespace kv::jinja {

// Throws Error(kData) with the template's name, the line and the construct that it did not
// understand.
Body parse_template(const std::string& source, const std::string& name);

}  // namespace kv::jinja
