#include "tasks/scorers/json_schema.h"

#include <gtest/gtest.h>

#include <string>

namespace kv {
namespace {

bool valid(const std::string& schema, const std::string& instance) {
  const auto rule = parse_python_json(schema), value = parse_python_json(instance);
  EXPECT_TRUE(rule && value) << schema << " " << instance;
  EXPECT_EQ(schema_problem(*rule), "") << schema;
  return schema_valid(*rule, *value);
}

struct Case {
  const char* schema;
  const char* fits;
  const char* does_not;
};

// Expected values from Python's jsonschema (Draft202012Validator).
TEST(JsonSchema, Keywords) {
  const Case cases[] = {
      {R"({"type": "integer"})", "30.0", "30.5"},
      {R"({"type": "integer"})", "-2", "true"},
      {R"({"type": "integer"})", "1e300", "Infinity"},
      {R"({"type": "number"})", "NaN", "false"},
      {R"({"type": "number"})", "Infinity", "\"1\""},
      {R"({"type": ["string", "null"]})", "null", "1"},
      {R"({"type": "object"})", "{}", "null"},
      {R"({"enum": ["c", "f"]})", "\"c\"", "\"C\""},
      {R"({"enum": [1]})", "1.0", "true"},
      {R"({"enum": [null, NaN]})", "NaN", "Infinity"},
      {R"({"enum": [[false]]})", "[false]", "[0]"},
      {R"({"const": {"a": 1}})", R"({"a": 1.0})", R"({"a": true})"},
      {R"({"required": ["a"]})", R"({"a": null})", R"({"b": 1})"},
      {R"({"properties": {"a": {"type": "string"}}})", R"({"b": 1})", R"({"a": 1})"},
      {R"({"properties": {"a": true}, "additionalProperties": false})", R"({"a": 1})",
       R"({"a": 1, "b": 1})"},
      {R"({"properties": {"a": {}}, "additionalProperties": {"type": "number"}})",
       R"({"a": "x", "b": 1})", R"({"b": "x"})"},
      {R"({"items": {"type": "integer"}})", "[1, 2]", "[1, \"2\"]"},
      {R"({"minItems": 1, "maxItems": 2})", "[1]", "[1, 2, 3]"},
      {R"({"minimum": 1, "maximum": 5})", "5", "5.1"},
      {R"({"minimum": 1})", "\"0\"", "0"},
      {R"({"exclusiveMinimum": 0})", "0.1", "0"},
      {R"({"exclusiveMaximum": 1})", "0.9", "1.0"},
      {R"({"multipleOf": 5})", "10", "12"},
      {R"({"minLength": 2, "maxLength": 3})", "\"\xc3\xa9\xc3\xa9\"", "\"\xc3\xa9\""},
      {R"({"uniqueItems": true})", "[1, true]", "[1, 1.0]"},
      {R"({"anyOf": [{"type": "string"}, {"type": "integer"}]})", "1", "1.5"},
      {R"({"oneOf": [{"type": "number"}, {"type": "integer"}]})", "1.5", "1"},
      {R"({"allOf": [{"type": "number"}, {"minimum": 3}]})", "3", "2"},
      {R"({"not": {"type": "string"}})", "1", "\"a\""},
      {R"({"minProperties": 1})", R"({"a": 1})", "{}"},
      {"true", "1", nullptr},
      {"false", nullptr, "1"},
      {R"({"format": "date", "description": "any", "default": 3})", "1", nullptr},
  };
  for (const Case& one : cases) {
    if (one.fits != nullptr) {
      EXPECT_TRUE(valid(one.schema, one.fits)) << one.schema << one.fits;
    }
    if (one.does_not != nullptr) {
      EXPECT_FALSE(valid(one.schema, one.does_not)) << one.schema << one.does_not;
    }
  }
}

TEST(JsonSchema, Problems) {
  const auto problem = [](const char* text) { return schema_problem(*parse_python_json(text)); };
  EXPECT_EQ(problem("3"), "schema: expected a schema (a map), found an integer");
  EXPECT_EQ(problem(R"({"properties": {"a": {"pattern": "x"}}})"),
            "schema.properties.a.pattern: this keyword is not supported");
  EXPECT_EQ(problem(R"({"items": {"$ref": "#/x"}})"),
            "schema.items.$ref: this keyword is not supported");
  EXPECT_NE(problem(R"({"type": "dict"})").find("schema.type: expected one of null"),
            std::string::npos);
  EXPECT_NE(problem(R"({"type": []})"), "");
  EXPECT_EQ(problem(R"({"anyOf": [{}, {"minimum": "1"}]})"),
            "schema.anyOf[1].minimum: expected a number");
  EXPECT_NE(problem(R"({"required": "a"})"), "");
  EXPECT_NE(problem(R"({"maxItems": -1})"), "");
}

}  // namespace
}  // namespace kv
