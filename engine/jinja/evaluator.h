// Renders a parsed template.
#pragma once

#include <map>
#include <string>

#include "engine/jinja/ast.h"

namespace kv::jinja {

// variables: the names that the template can see besides the builtins. name: for messages.
// Throws Error(kData) with name, line and what went wrong.
std::string render_template(const Body& body, const std::string& name,
                            std::map<std::string, Value> variables);

}  // namespace kv::jinja
