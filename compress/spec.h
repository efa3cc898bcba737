// Specs as people write them: a small grammar, and the same things as objects.
//
//   spec  = term { "+" term }
//   term  = name [ map ]
//   map   = "(" [ key "=" value { "," key "=" value } ] ")"
//   value = number | true | false | word | 'text' | term | map | "[" value { "," value } "]"
//
// A term becomes a map Value whose first key is `name`; a bare word inside a map stays a string.
// Which names, keys and values exist is not decided here but in registry.cc.
#pragma once

#include <string>
#include <vector>

#include "engine/value.h"

namespace kv {

// The terms of a spec string. place: what messages call the string ("--compressor", "v1.yaml:14:
// compressors[2]"). Every Value's place names the column (from 1). Throws Error(kUsage) with the
// column, what was expected and found.
std::vector<Value> parse_spec(const std::string& text, const std::string& place);

// "a(x=1)+b": what parse_spec reads back as equal terms.
std::string format_spec(const std::vector<Value>& terms);

// A spec string or an object ({name or method, parameters, then}) as a row of terms without `then`,
// which holds a string, an object or a list of them. `name` comes first in every term. Throws
// Error(kUsage) for anything else.
std::vector<Value> read_terms(const Value& value);

// One row of terms for each element of a list under `ratio` or `budget` of a term itself (not of an
// inner one); with lists in several terms the last one varies fastest. Throws Error(kUsage) for an
// empty list.
std::vector<std::vector<Value>> expand_ratio_lists(const std::vector<Value>& terms);

}  // namespace kv
