#include "engine/value.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "engine/error.h"

namespace kv {
namespace {

using Type = ParamSpec::Type;

ParamSpec spec(const std::string& name, Type type, const std::string& default_text,
               double min = -1e300, double max = 1e300) {
  ParamSpec s;
  s.name = name;
  s.type = type;
  s.default_text = default_text;
  s.min = min;
  s.max = max;
  return s;
}

Value map_of(std::vector<std::pair<std::string, Value>> entries) {
  Value map;
  map.kind = Value::Kind::kMap;
  map.entries = std::move(entries);
  map.place = "v1.yaml:14: tasks[0]";
  return map;
}

Value list_of(const std::vector<double>& numbers) {
  Value list;
  list.kind = Value::Kind::kList;
  for (const double n : numbers) list.items.push_back(Value::of(n));
  return list;
}

std::string refusal(const Value& map, const std::vector<ParamSpec>& table) {
  try {
    Params::read(map, table, "task 'x'", {"name"});
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_status(), 2);
    return e.what();
  }
  return "no error";
}

TEST(FormatNumber, ShortestFormThatReadsBack) {
  EXPECT_EQ(format_number(0.5), "0.5");
  EXPECT_EQ(format_number(1e-6), "1e-06");
  EXPECT_EQ(format_number(32), "32");
  EXPECT_EQ(format_number(-0.0), "0");
  EXPECT_EQ(format_number(1.0 - 0.9), "0.09999999999999998");
  std::mt19937_64 generator(3);
  for (int i = 0; i < 20000; ++i) {
    const auto x = std::bit_cast<double>(generator());
    if (!std::isfinite(x)) continue;
    EXPECT_EQ(parse_number(format_number(x)), x);
  }
}

TEST(ParseNumber, TakesWholeFiniteNumbersOnly) {
  EXPECT_EQ(parse_number("12"), 12);
  EXPECT_EQ(parse_number("-.5e1"), -5);
  for (const char* text : {"", ".", "-", "0.5x", "inf", "-inf", "nan", "1e", "1e999", "0x10", "+1",
                           " 1", "e5", "--1"}) {
    EXPECT_EQ(parse_number(text), std::nullopt) << text;
  }
}

TEST(DidYouMean, NamesTheClosestWord) {
  const std::vector<std::string> known = {"budget", "window", "kernel"};
  EXPECT_EQ(did_you_mean("budgt", known), "; did you mean 'budget'?");
  EXPECT_EQ(did_you_mean("Window", known), "; did you mean 'window'?");
  EXPECT_EQ(did_you_mean("window_size", known), "; did you mean 'window'?");
  EXPECT_EQ(did_you_mean("kenrel", known), "; did you mean 'kernel'?");
  EXPECT_EQ(did_you_mean("positions", known), "");
  EXPECT_EQ(did_you_mean("", known), "");
}

TEST(Value, DescribesItselfForMessages) {
  EXPECT_EQ(Value().describe(), "nothing (null)");
  EXPECT_EQ(Value::of("abc").describe(), "the string 'abc'");
  EXPECT_EQ(Value::of(1.5).describe(), "the number 1.5");
  EXPECT_EQ(Value::of(true).describe(), "true");
  EXPECT_EQ(list_of({}).describe(), "a list");
  EXPECT_EQ(map_of({}).describe(), "a map");
}

TEST(Value, WholeNumbers) {
  EXPECT_TRUE(Value::of(-3.0).is_integer());
  EXPECT_FALSE(Value::of(0.5).is_integer());
  EXPECT_FALSE(Value::of(1e16).is_integer());
  EXPECT_FALSE(Value::of(std::numeric_limits<double>::infinity()).is_integer());
  EXPECT_FALSE(Value::of("3").is_integer());
}

TEST(Params, DefaultsAndGivenValues) {
  auto choice = spec("mode", Type::kChoice, "fast");
  choice.choices = {"fast", "slow"};
  const std::vector<ParamSpec> table = {
      spec("ratio", Type::kNumber, "0.5"),   spec("window", Type::kInteger, "32"),
      spec("on", Type::kBool, "true"),       choice,
      spec("data", Type::kFile, "null"),     spec("ids", Type::kIntegerList, "[1,2]"),
      spec("shares", Type::kNumberList, ""), spec("title", Type::kString, "")};
  const Params params = Params::read(
      map_of({{"name", Value::of("x")}, {"window", Value::of(8.0)}, {"shares", list_of({0.5, 2})}}),
      table, "task 'x'", {"name"});
  EXPECT_EQ(params.number("ratio"), 0.5);
  EXPECT_EQ(params.integer("window"), 8);
  EXPECT_TRUE(params.boolean("on"));
  EXPECT_EQ(params.string("mode"), "fast");
  EXPECT_TRUE(params.is_null("data"));
  EXPECT_EQ(params.integers("ids"), (std::vector<int>{1, 2}));
  EXPECT_EQ(params.numbers("shares"), (std::vector<double>{0.5, 2}));
  EXPECT_EQ(params.string("title"), "");
  EXPECT_TRUE(params.given("window"));
  EXPECT_FALSE(params.given("ratio"));
  EXPECT_EQ(params.canonical(),
            "ratio=0.5,window=8,on=true,mode=fast,ids=[1,2],shares=[0.5,2],title=''");
  EXPECT_EQ(params.canonical({"ids", "shares", "title"}), "ratio=0.5,window=8,on=true,mode=fast");
  EXPECT_EQ(Params::read(Value(), table, "x").integer("window"), 32);
}

TEST(Params, RefusalsNamePlaceKeyExpectedAndFound) {
  const std::vector<ParamSpec> table = {spec("window", Type::kInteger, "32", 1),
                                        spec("data", Type::kFile, "null")};
  EXPECT_EQ(refusal(map_of({{"windo", Value::of(1.0)}}), table),
            "v1.yaml:14: tasks[0]: task 'x': unknown key 'windo'; did you mean 'window'? (known: "
            "window, data)");
  Value placed = Value::of("abc");
  placed.place = "v1.yaml:15: tasks[0].window";
  EXPECT_EQ(refusal(map_of({{"window", placed}}), table),
            "v1.yaml:15: tasks[0].window: task 'x': 'window' must be a whole number >= 1, found "
            "the string 'abc'");
  EXPECT_EQ(
      refusal(map_of({{"window", Value()}}), table),
      "v1.yaml:14: tasks[0]: task 'x': 'window' must be a whole number >= 1, found nothing (null)");
  EXPECT_EQ(refusal(map_of({{"data", Value()}}), table), "no error");
  EXPECT_EQ(refusal(map_of({{"data", Value::of("")}}), table),
            "v1.yaml:14: tasks[0]: task 'x': 'data' must be a file name, found the string ''");
  EXPECT_EQ(refusal(Value::of(2.0), table),
            "task 'x': expected parameters (a map), found the number 2");
  auto required = spec("lengths", Type::kIntegerList, "", 1, 10);
  required.required = true;
  required.doc = "tokens";
  EXPECT_EQ(refusal(map_of({}), {required}),
            "v1.yaml:14: tasks[0]: task 'x': 'lengths' is missing: expected a list of whole "
            "numbers in [1, 10] (tokens)");
  EXPECT_EQ(refusal(map_of({{"lengths", list_of({1, 11})}}), {required}),
            "v1.yaml:14: tasks[0]: task 'x': 'lengths' must be a list of whole numbers in [1, 10], "
            "found a list");
}

}  // namespace
}  // namespace kv
