// Python's operators on template values.
#pragma once

#include <optional>
#include <string>

#include "engine/jinja/value.h"

namespace kv::jinja {

// op: + - * / // % ** ~. Throws TemplateError where Python would.
Value binary_operator(const std::string& op, const Value& left, const Value& right);
// op: == != < > <= >= in, not in.
bool compare_operator(const std::string& op, const Value& left, const Value& right);
Value negative(const Value& value);
// object[from:to:step] of a string (in code points), list or tuple.
Value slice(const Value& object, std::optional<int64_t> from, std::optional<int64_t> to,
            std::optional<int64_t> step);

}  // namespace kv::jinja
