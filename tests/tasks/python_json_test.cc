#include "tasks/scorers/python_json.h"

#include <gtest/gtest.h>

#include <string>

namespace kv {
namespace {

bool same(const std::string& a, const std::string& b) {
  const auto left = parse_python_json(a), right = parse_python_json(b);
  EXPECT_TRUE(left && right) << a << " " << b;
  return left && right && python_equal(*left, *right) && python_equal(*right, *left);
}

// Every expectation below was tried in CPython 3.11.
TEST(PythonJson, Equality) {
  EXPECT_TRUE(same("100", "100.0"));
  EXPECT_TRUE(same("100", "1e2"));
  EXPECT_TRUE(same("true", "1"));
  EXPECT_TRUE(same("false", "0.0"));
  EXPECT_TRUE(same("-0", "0"));
  EXPECT_TRUE(same(R"({"a": 1, "b": [2]})", R"({"b": [2.0], "a": true})"));
  EXPECT_TRUE(same(R"("\u00e9")", "\"\xc3\xa9\""));
  EXPECT_TRUE(same(R"("\ud83d\ude00")", "\"\xf0\x9f\x98\x80\""));
  EXPECT_TRUE(same(R"({"a": 1, "a": 2})", R"({"a": 2})"));
  EXPECT_TRUE(same("[NaN]", "[NaN]"));
  EXPECT_FALSE(same("NaN", "NaN"));
  EXPECT_TRUE(same("Infinity", "1e999"));
  EXPECT_FALSE(same("Infinity", "-Infinity"));
  EXPECT_FALSE(same("null", "0"));
  EXPECT_FALSE(same("null", "false"));
  EXPECT_FALSE(same("\"1\"", "1"));
  EXPECT_FALSE(same("[1]", "[1, 1]"));
  EXPECT_FALSE(same("{}", "[]"));
  EXPECT_FALSE(same(R"({"a": 1})", R"({"A": 1})"));
}

TEST(PythonJson, IntegersHaveAnySize) {
  EXPECT_FALSE(same("9007199254740993", "9007199254740992"));
  EXPECT_FALSE(same("9007199254740993", "9007199254740992.0"));
  EXPECT_TRUE(same("9007199254740992", "9007199254740992.0"));
  EXPECT_TRUE(same("100000000000000000000", "1e20"));
  EXPECT_FALSE(same("100000000000000000001", "1e20"));
}

TEST(PythonJson, SchemasKeepBooleansApart) {
  const auto one = parse_python_json("[1]"), yes = parse_python_json("[true]");
  EXPECT_TRUE(python_equal(*one, *yes));
  EXPECT_FALSE(schema_equal(*one, *yes));
  EXPECT_TRUE(schema_equal(*one, *parse_python_json("[1.0]")));
}

TEST(PythonJson, Refused) {
  for (const char* text :
       {"",      " ",        "{",        "{\"a\"}",    "{\"a\":}",    "{\"a\":1,}",
        "[1,]",  "{a: 1}",   "{'a': 1}", "01",         "+1",          "1.",
        ".5",    "1e",       "-",        "nan",        "inf",         "-NaN",
        "True",  "\"a\nb\"", "\"\t\"",   "\"\\x41\"",  "\"\\u12g4\"", "\"\\u12\"",
        "\"abc", "1 2",      "{} x",     "\xc2\xa0{}", "//x\n1"}) {
    std::string problem;
    EXPECT_FALSE(parse_python_json(text, &problem)) << text;
    EXPECT_NE(problem.find("at byte"), std::string::npos) << text;
  }
}

TEST(PythonJson, Accepted) {
  for (const char* text : {" {} ", "\t[ ]\r\n", "-1.5E+3", "\"\\/\\b\\f\"", "\"\x7f\"",
                           "\"\\ud800\"", "{\"\": null}", "-Infinity"}) {
    EXPECT_TRUE(parse_python_json(text)) << text;
  }
}

TEST(PythonJson, DeepNestingEndsWithoutACrash) {
  EXPECT_TRUE(parse_python_json(std::string(500, '[') + std::string(500, ']')));
  EXPECT_FALSE(parse_python_json(std::string(100000, '[')));
}

}  // namespace
}  // namespace kv
