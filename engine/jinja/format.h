// Python's two ways of formatting text: pattern % values and pattern.format(values).
#pragma once

#include <string>

#include "engine/jinja/value.h"

namespace kv::jinja {

// "%s of %05.1f" % values. values: a tuple of as many as the pattern asks for, a dict for %(name)s,
// or the one value. Throws TemplateError where the two do not fit together.
std::string format_percent(const std::string& pattern, const Value& values);

// "{} {1} {name:>8}".format(…): numbered and named fields; what stands behind the colon as in Python,
// except grouping by "," or "_". Throws TemplateError for attributes and items of fields.
std::string format_braces(const std::string& pattern, const List& values, const Dict& names);

}  // namespace kv::jinja
