#include "compress/spec.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "engine/error.h"
#include "tests/compress/spec_testing.h"

namespace kv {
namespace {

// Equal but for places.
bool same(const Value& a, const Value& b) {
  if (a.kind != b.kind || a.boolean != b.boolean || a.number != b.number || a.text != b.text)
    return false;
  if (a.items.size() != b.items.size() || a.entries.size() != b.entries.size()) return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    if (!same(a.items[i], b.items[i])) return false;
  }
  for (size_t i = 0; i < a.entries.size(); ++i) {
    if (a.entries[i].first != b.entries[i].first || !same(a.entries[i].second, b.entries[i].second))
      return false;
  }
  return true;
}

std::string reprinted(const std::string& text) {
  return format_spec(parse_spec(text, "test"));
}

std::string parse_error(const std::string& text) {
  return message_of([&] { parse_spec(text, "--compressor"); });
}

Value entry(const std::string& key, Value value) {
  Value map;
  map.kind = Value::Kind::kMap;
  map.entries.emplace_back(key, std::move(value));
  return map;
}

TEST(Spec, PrintsWithoutSpacesAndWithShortNumbers) {
  EXPECT_EQ(reprinted("knorm"), "knorm");
  EXPECT_EQ(reprinted("knorm()"), "knorm");
  EXPECT_EQ(reprinted(" snapkv ( ratio = 0.50 , window=32 ) + int4 "),
            "snapkv(ratio=0.5,window=32)+int4");
  EXPECT_EQ(reprinted("a(x=1e-6,y=1e+20,z=-0,w=3.0,v=.5)"), "a(x=1e-06,y=1e+20,z=0,w=3,v=0.5)");
  EXPECT_EQ(reprinted("a(x=true,y=false,z='true',w='a b',v='it''s',u='',t='1')"),
            "a(x=true,y=false,z='true',w='a b',v='it''s',u='',t='1')");
  EXPECT_EQ(reprinted("knorm(decode=(every=6,keep=48))"), "knorm(decode=(every=6,keep=48))");
  EXPECT_EQ(reprinted("adakv(inner=snapkv(window=32),ratio=0.5)"),
            "adakv(inner=snapkv(window=32),ratio=0.5)");
  EXPECT_EQ(reprinted("a(x=[1,[2,b],c(d=e)],f=[],g=q/f-1.st)"),
            "a(x=[1,[2,b],c(d=e)],f=[],g=q/f-1.st)");
  EXPECT_EQ(reprinted("a(file=1e,name2=1e5x)"), "a(file=1e,name2=1e5x)");
}

TEST(Spec, ATermBecomesAMapWithItsName) {
  const auto terms = parse_spec("adakv(inner=snapkv(window=32),mode=fast)", "test");
  ASSERT_EQ(terms.size(), 1u);
  EXPECT_EQ(terms[0].find("name")->text, "adakv");
  EXPECT_EQ(terms[0].find("inner")->find("name")->text, "snapkv");
  EXPECT_EQ(terms[0].find("inner")->find("window")->number, 32);
  EXPECT_EQ(terms[0].find("mode")->kind, Value::Kind::kString);
  EXPECT_EQ(terms[0].find("inner")->place,
            "test: column 13 of 'adakv(inner=snapkv(window=32),mode=fast)'");
}

class RandomSpecs {
 public:
  explicit RandomSpecs(uint32_t seed) : generator_(seed) {}
  Value term(int depth) {
    Value map;
    map.kind = Value::Kind::kMap;
    map.entries.emplace_back("name", Value::of(word()));
    add_entries(map, depth);
    return map;
  }

 private:
  int below(int n) { return static_cast<int>(generator_() % n); }
  std::string word() {
    const std::string letters = "abcxyz_019./-";
    std::string out(1, letters[below(7)]);
    for (int i = below(6); i > 0; --i) out += letters[below(static_cast<int>(letters.size()))];
    return out;
  }
  std::string text() {
    const std::string letters = "ab '(),=+[]1e.\"\\\xc3";
    std::string out;
    for (int i = below(7); i > 0; --i) out += letters[below(static_cast<int>(letters.size()))];
    return out;
  }
  void add_entries(Value& map, int depth) {
    for (int i = below(4); i > 0; --i) {
      const std::string key = word();
      if (map.find(key) == nullptr && key != "name")
        map.entries.emplace_back(key, value(depth - 1));
    }
  }
  Value value(int depth) {
    const int kind = below(depth > 0 ? 8 : 5);
    if (kind == 0) return Value::of(below(2) == 0);
    if (kind == 1) return Value::of(static_cast<double>(below(2000) - 1000));
    if (kind == 2)
      return Value::of(std::ldexp(static_cast<double>(generator_()), below(200) - 100));
    if (kind == 3) return Value::of(word());
    if (kind == 4) return Value::of(text());
    if (kind == 5) return term(depth);
    Value out;
    out.kind = kind == 6 ? Value::Kind::kList : Value::Kind::kMap;
    if (kind == 6) {
      for (int i = below(4); i > 0; --i) out.items.push_back(value(depth - 1));
    } else {
      add_entries(out, depth);
    }
    return out;
  }
  std::mt19937 generator_;
};

TEST(Spec, ParseOfPrintIsTheSameSpec) {
  RandomSpecs random(7);
  for (int i = 0; i < 3000; ++i) {
    std::vector<Value> terms;
    for (int n = 1 + i % 3; n > 0; --n) terms.push_back(random.term(4));
    const std::string text = format_spec(terms);
    const auto again = parse_spec(text, "test");
    ASSERT_EQ(again.size(), terms.size()) << text;
    for (size_t t = 0; t < terms.size(); ++t) ASSERT_TRUE(same(again[t], terms[t])) << text;
    EXPECT_EQ(format_spec(again), text);
  }
}

// Any cut of a valid spec either parses or is refused with a message; nothing else happens.
TEST(Spec, CutSpecsAreRefusedOrParse) {
  const std::string text = "a(x=[1,'q''s',b(c=(d=1e+5))],y=true)+int4(group=64)";
  for (size_t n = 0; n < text.size(); ++n) {
    const std::string message = message_of([&] { parse_spec(text.substr(0, n), ""); });
    EXPECT_TRUE(message == "no error" || message.starts_with("column ")) << message;
  }
}

TEST(Spec, ErrorsNameTheColumn) {
  const auto place = [](int column, const std::string& text) {
    return fmt::format("--compressor: column {} of '{}': ", column, text);
  };
  const auto expect = [&](const std::string& text, int column, const std::string& rest) {
    EXPECT_EQ(parse_error(text), place(column, text) + rest);
  };
  expect("", 1, "expected a method's name, found the end");
  expect("snapkv(ratio=0.5", 17, "expected ',' or ')', found the end");
  expect("snapkv(ratio=0.5)x", 18, "expected '+' or the end, found 'x'");
  expect("snapkv(ratio=0.5)+", 19, "expected a method's name, found the end");
  expect("snapkv(ratio 0.5)", 14, "expected '=', found '0'");
  expect("snapkv(ratio=)", 14, "expected a value, found ')'");
  expect("snapkv(=1)", 8, "expected a parameter's name, found '='");
  expect("snapkv(a=1,a=2)", 12, "the key 'a' is given twice: expected another key, found 'a'");
  expect("snapkv(name=x)", 8,
         "'name' is what stands before the parenthesis: expected another key, found 'n'");
  expect("snapkv(a=[1,2)", 14, "expected ',' or ']', found ')'");
  expect("snapkv(a='x)", 10,
         "the text that starts here has no closing quote: expected ', found '''");
  expect("snapkv(a=1e+x)", 10, "expected a number, found '1'");
  EXPECT_NE(parse_error("a(x=" + std::string(100, '[')).find("expected at most 32 nested levels"),
            std::string::npos);
}

TEST(ReadTerms, StringsObjectsAndThen) {
  Value object = entry("name", Value::of("snapkv"));
  object.entries.emplace_back("ratio", Value::of(0.5));
  EXPECT_EQ(format_spec(read_terms(object)), "snapkv(ratio=0.5)");

  Value with_string = object;
  with_string.entries.emplace_back("then", Value::of("knorm(ratio=0.25)+int4"));
  EXPECT_EQ(format_spec(read_terms(with_string)), "snapkv(ratio=0.5)+knorm(ratio=0.25)+int4");

  Value inner = entry("name", Value::of("knorm"));
  inner.entries.emplace_back("then", Value::of("int4"));
  Value list;
  list.kind = Value::Kind::kList;
  list.items = {Value::of("random(ratio=0.1)"), inner};
  Value with_list = object;
  with_list.entries.insert(with_list.entries.begin(), {"then", list});
  EXPECT_EQ(format_spec(read_terms(with_list)), "snapkv(ratio=0.5)+random(ratio=0.1)+knorm+int4");

  EXPECT_EQ(format_spec(read_terms(Value::of("a(then=b(then='c+d'))+e"))), "a+b+c+d+e");
}

TEST(ReadTerms, RefusesWhatIsNoCompressor) {
  Value number = Value::of(3.0);
  number.place = "v1.yaml:4: compressors[1]";
  EXPECT_EQ(message_of([&] { read_terms(number); }),
            "v1.yaml:4: compressors[1]: expected a compressor (a spec string or a map with a "
            "name), found the number 3");
  EXPECT_EQ(message_of([&] { read_terms(entry("ratio", Value::of(0.5))); }),
            "expected a compressor with a 'name', found a map without one");
  Value both = entry("name", Value::of("a"));
  both.entries.emplace_back("method", Value::of("b"));
  EXPECT_EQ(message_of([&] { read_terms(both); }),
            "'name' and 'method' are both given: leave one out");
  EXPECT_EQ(message_of([&] { read_terms(entry("name", Value::of(4.0))); }),
            "'name' must be a method's name, found the number 4");
}

TEST(ExpandRatioLists, OneRowForEachElement) {
  std::vector<std::string> printed;
  for (const auto& row :
       expand_ratio_lists(parse_spec("a(ratio=[0.1,0.2],x=[1,2])+b(ratio=[0.3,0.4])+c", ""))) {
    printed.push_back(format_spec(row));
  }
  EXPECT_EQ(printed,
            (std::vector<std::string>{
                "a(ratio=0.1,x=[1,2])+b(ratio=0.3)+c", "a(ratio=0.1,x=[1,2])+b(ratio=0.4)+c",
                "a(ratio=0.2,x=[1,2])+b(ratio=0.3)+c", "a(ratio=0.2,x=[1,2])+b(ratio=0.4)+c"}));
  EXPECT_EQ(message_of([] { expand_ratio_lists(parse_spec("a(ratio=[])", "x")); }),
            "x: column 9 of 'a(ratio=[])': 'ratio' is an empty list: expected at least one number");
}

TEST(ExpandRatioLists, FewRowsAndFewMethods) {
  std::string text = "a(ratio=[0,0.5])";
  for (int i = 0; i < 20; ++i) text += "+a(ratio=[0,0.5])";
  EXPECT_NE(message_of([&] {
              expand_ratio_lists(parse_spec(text, "x"));
            }).find("the lists stand for more than 1000 compressors"),
            std::string::npos);
  Value many = Value::of(text + "+" + text);
  many.place = "x";
  EXPECT_NE(message_of([&] { read_terms(many); }).find("at most 32 methods"), std::string::npos);
}

// The message shows what stands around the place, and the place of every value costs as much.
TEST(Spec, OfALongSpecOnlyAPartIsShown) {
  std::string list = "a(x=[1";
  while (list.size() < 60000) list += ",1";
  const std::string message = message_of([&] { parse_spec(list + ",)", "x"); });
  EXPECT_TRUE(message.starts_with("x: column ")) << message;
  EXPECT_LT(message.size(), 400u);
  EXPECT_NE(
      message_of([] { parse_spec(std::string(70000, 'a'), "x"); }).find("at most 65536 bytes"),
      std::string::npos);
}

}  // namespace
}  // namespace kv
