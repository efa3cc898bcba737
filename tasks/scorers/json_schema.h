// JSON Schema 2020-12, the part that descriptions of tools use.
//
// type (one or a list), enum, const, properties, required, additionalProperties, items,
// minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, min/maxLength, min/maxItems,
// min/maxProperties, uniqueItems, allOf, anyOf, oneOf, not; true and false as schemas. Keywords
// that check something else (pattern, $ref, if, ...) are refused when a schema is read, since
// skipping one would let wrong arguments pass; all others only describe.
//
// As Python's jsonschema: 30.0 is an integer, booleans are no numbers, lengths count code points.
#pragma once

#include <string>

#include "tasks/scorers/python_json.h"

namespace kv {

// What keeps `schema` from being used, with its place in the schema; empty: nothing.
std::string schema_problem(const PyJson& schema);

// schema_problem(schema) is empty.
bool schema_valid(const PyJson& schema, const PyJson& instance);

}  // namespace kv
