#include "engine/chat_template.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tests/paths.h"

namespace kv {
namespace {

using Json = nlohmann::ordered_json;
const std::string kData = source_dir().string() + "/tests/data/chat_template/";

std::shared_ptr<const ChatTemplate> parse(const std::string& source) {
  return ChatTemplate::parse(source, "test.jinja", {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
}

std::string error_of(const std::string& source) {
  try {
    parse(source)->render({{"user", "hi"}}, true);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    return error.what();
  }
  return "";
}

std::string render(const std::string& source) {
  return parse(source)->render({{"user", "hi"}}, true);
}

// Every case was rendered by Python's Jinja; where that refused a template, ours must as well.
TEST(ChatTemplate, RendersAsJinja) {
  const Json golden = Json::parse(std::ifstream(kData + "cases.json"));
  ASSERT_GT(golden["cases"].size(), 300u);
  for (const Json& row : golden["cases"]) {
    const std::string source = row["template"];
    SCOPED_TRACE(source);
    Json variables = row["variables"];
    if (variables.is_null()) variables["messages"] = golden["messages"];
    std::string text, error;
    try {
      text = parse(source)->render({}, row["add_generation_prompt"], variables);
    } catch (const Error& e) {
      error = e.what();
    }
    if (row["text"].is_null()) {
      EXPECT_EQ(error.rfind("test.jinja:", 0), 0u)
          << "expected an error that names the line; text: " << text;
    } else {
      EXPECT_EQ(error, "");
      EXPECT_EQ(text, row["text"].get<std::string>());
    }
  }
}

TEST(ChatTemplate, ErrorsNameTheLineAndTheConstruct) {
  EXPECT_EQ(error_of("a\nb {{ nope.x }}"), "test.jinja:2: 'nope' is undefined");
  EXPECT_NE(
      error_of("\n\n{% include 'x' %}").find("test.jinja:3: the block 'include' is not supported"),
      std::string::npos);
  EXPECT_NE(error_of("{{ 1|shuffle }}").find("the filter 'shuffle' is not supported"),
            std::string::npos);
  EXPECT_NE(error_of("{% if true %}x").find("endif"), std::string::npos);
  EXPECT_NE(error_of("{{ raise_exception('roles must alternate') }}").find("roles must alternate"),
            std::string::npos);
  EXPECT_NE(error_of("{{ \"a\" + 1 }}").find("does not take str and int"), std::string::npos);
}

TEST(ChatTemplate, DeepNestingIsAnErrorAndNotACrash) {
  EXPECT_NE(error_of("{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}")
                .find("nested deeper"),
            std::string::npos);
  EXPECT_NE(error_of("{{ " + std::string(100000, '-') + "1 }}").find("nested deeper"),
            std::string::npos);
  std::string blocks;
  for (int i = 0; i < 10000; ++i) blocks += "{% if true %}";
  EXPECT_NE(error_of(blocks).find("nested deeper"), std::string::npos);
  EXPECT_NE(error_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").find("called deeper"),
            std::string::npos);
}

// Chains nest to the left; values nest in each other while the template runs.
TEST(ChatTemplate, LongChainsAndDeepValuesAreErrorsAndNotACrash) {
  std::string attributes = "a", sums = "1";
  for (int i = 0; i < 100000; ++i) attributes += ".b", sums += " + 1";
  for (const std::string& chain : {attributes, sums}) {
    EXPECT_NE(error_of("{{ " + chain + " }}").find("nested deeper than 500"), std::string::npos);
  }
  const std::string loop = "{% set ns = namespace(a=[]) %}{% for i in range(1000) %}";
  for (const char* body : {"{% set ns.a = [ns.a] %}", "{% set ns.a = {1: ns.a} %}",
                           "{% set ns.a = [ns.a].count %}", "{% set ns.a = namespace(a=ns.a) %}"}) {
    EXPECT_NE(error_of(loop + body + "{% endfor %}").find("nested deeper than 200"),
              std::string::npos)
        << body;
  }
  EXPECT_NE(error_of("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}").find("nested deeper"),
            std::string::npos);
  std::string sum = "1";
  for (int i = 0; i < 90; ++i) sum = "(" + sum + " + 1)";
  EXPECT_NE(
      error_of("{% macro f() %}{{ " + sum + " ~ f() }}{% endmacro %}{{ f() }}").find("deeper"),
      std::string::npos);
}

TEST(ChatTemplate, EndlessWorkIsAnError) {
  const std::string loops =
      "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
  EXPECT_NE(error_of(loops).find("test.jinja:1: the template takes too much work"),
            std::string::npos);
  for (const auto& [start, body] : std::vector<std::pair<std::string, std::string>>{
           {"'xy'", "{% set ns.a = ns.a ~ ns.a %}"},
           {"'xy'", "{% set ns.a = ns.a.replace('', ns.a) %}"},
           {"'xy'", "{% set ns.a = ns.a|join(ns.a) %}"},
           {"'x\\n'", "{% set ns.a = ns.a|indent(999999, true) %}"},
           {"'x'", "{% set ns.a = '%99999d%99999d' % (1, 2) ~ ns.a %}"},
           {"[1]", "{% set ns.a = ns.a * 2 %}"},
           {"[1]", "{% set ns.a = [ns.a, ns.a] %}{{ ns.a }}"},
           {"[1]", "{% set ns.a = [ns.a, ns.a] %}{{ ns.a == ns.a }}"},
           {"[1]", "{% set ns.a = [ns.a, ns.a] %}{% set x = ns.a|tojson %}"}}) {
    const std::string text =
        "{% set ns = namespace(a=" + start + ") %}{% for i in range(99) %}" + body + "{% endfor %}";
    const std::string error = error_of(text);
    EXPECT_TRUE(error.find("too much work") != std::string::npos ||
                error.find(" longer than ") != std::string::npos)
        << text << "\n"
        << error;
  }
  EXPECT_NE(error_of("{{ 'x' * 99999999999 }}").find("longer than"), std::string::npos);
  EXPECT_NE(error_of("{{ [1, 2] * 99999999999 }}").find("longer than"), std::string::npos);
  EXPECT_NE(error_of("{{ 'x'|indent(99999999999, true) }}").find("longer than"), std::string::npos);
}

TEST(ChatTemplate, TheEndsOf64Bits) {
  EXPECT_EQ(render("{{ range(9223372036854775806, 9223372036854775807, 9)|length }}"), "1");
  EXPECT_EQ(render("{{ 'abc'[::9223372036854775807] }}"), "a");
  EXPECT_EQ(render("{{ 'a\u00E9c'[1] ~ 'a\u00E9c'[::-1] ~ [1, 2, 3][::2] }}"),
            "\u00E9c\u00E9a[1, 3]");
  EXPECT_NE(error_of("{{ [9223372036854775807, 1]|sum }}").find("64 bits"), std::string::npos);
  EXPECT_NE(error_of("{{ (-9223372036854775807 - 1)|abs }}").find("64 bits"), std::string::npos);
  EXPECT_EQ(render("{{ -3|abs }}"), "3");
  EXPECT_NE(error_of("{{ 'x'|indent(none) }}").find("width: expected an integer or a string"),
            std::string::npos);
}

TEST(ChatTemplate, SplitsAroundTheUserMessage) {
  const auto plain = parse(
      "<u>{{ messages[0].content }}</u>{% if add_generation_prompt %}<a>{% endif %}"
      "{% if not enable_thinking %}!{% endif %}");
  const ChatTemplate::Split split = plain->split_user_message("some context ");
  EXPECT_EQ(split.head, "<u>some context ");
  EXPECT_EQ(split.tail, "</u><a>!");
  // A template that strips the message only strips its head, since the mark follows the context.
  const auto trims = parse("<u>{{ messages[0].content | trim }}</u>");
  EXPECT_EQ(trims->split_user_message("  é x \n").head, "<u>é x \n");
  EXPECT_EQ(trims->split_user_message("  é x \n").tail, "</u>");
}

// kvpress's str.split finds the leftmost mark, so the '#' of the context go to the tail.
TEST(ChatTemplate, SplitOfAContextThatEndsInHashes) {
  const ChatTemplate::Split split = parse("{{ messages[0].content }}|")->split_user_message("ab##");
  EXPECT_EQ(split.head, "ab");
  EXPECT_EQ(split.tail, "##|");
}

TEST(ChatTemplate, SplitRefusesTemplatesThatHideOrRepeatTheMessage) {
  EXPECT_THROW(parse("hello")->split_user_message("x"), Error);
  EXPECT_THROW(
      parse("{{ messages[0].content }} {{ messages[0].content }}")->split_user_message("x"), Error);
}

class ChatTemplateFolder : public testing::Test {
 protected:
  ChatTemplateFolder()
      : folder_(std::filesystem::temp_directory_path() /
                ("kv_chat_template_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~ChatTemplateFolder() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
  }
  std::filesystem::path folder_;
};

TEST_F(ChatTemplateFolder, ReadsConfigAndFile) {
  EXPECT_EQ(ChatTemplate::from_folder(folder_), nullptr);
  write("special_tokens_map.json", R"({"eos_token": {"content": "</e>"}, "bos_token": "<other>"})");
  write(
      "tokenizer_config.json",
      R"({"bos_token": "<b>", "eos_token": null, "chat_template": "{{ bos_token }}{{ eos_token }}"})");
  EXPECT_EQ(ChatTemplate::from_folder(folder_)->render({}, true), "<b></e>");
  write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]})");
  EXPECT_EQ(ChatTemplate::from_folder(folder_)->render({}, true), "d");
  write("chat_template.jinja", "file{{ messages[0].role }}\n");
  EXPECT_EQ(ChatTemplate::from_folder(folder_)->render({{"user", "x"}}, true), "fileuser");
}

}  // namespace
}  // namespace kv
