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
