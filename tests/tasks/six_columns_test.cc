#include "tasks/six_columns.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/tasks/test_tools.h"

namespace kv {
namespace {

constexpr const char* kHeader = "context,question,answer_prefix,answer,task,max_new_tokens\n";

std::vector<SixColumnRow> read(const std::string& name, const std::string& text,
                               Columns columns = Columns::kQuestions) {
  ScratchFolder folder;
  folder.write(name, text);
  return read_six_columns(std::filesystem::path(folder.folder()) / name, columns);
}

std::string problem(const std::string& name, const std::string& text) {
  return error_of([&] { read(name, text); });
}

TEST(SixColumns, CsvQuoting) {
  const auto rows =
      read("a.csv", std::string("\xef\xbb\xbf") + kHeader +
                        "\"two\nlines\",\"say \"\"hi\"\", now\",,\"{\"\"a\"\": 1}\",t,128\r\n"
                        "\n\"\",q,\" p \",x,t,7");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].context, "two\nlines");
  EXPECT_EQ(rows[0].question, "say \"hi\", now");
  EXPECT_EQ(rows[0].answer_prefix, "");
  EXPECT_EQ(rows[0].answer, "{\"a\": 1}");
  EXPECT_EQ(rows[0].max_new_tokens, 128);
  EXPECT_EQ(rows[1].context, "");
  EXPECT_EQ(rows[1].answer_prefix, " p ");
  EXPECT_EQ(rows[1].max_new_tokens, 7);
  EXPECT_NE(rows[1].place.find("a.csv:5"), std::string::npos) << rows[1].place;
}

TEST(SixColumns, CsvColumnsInAnyOrderWithOthersBetween) {
  const auto rows = read("a.csv",
                         "max_new_tokens,extra,task,answer,answer_prefix,question,context\n"
                         "5,x,t,a,p,q,c\n");
  EXPECT_EQ(rows[0].context + rows[0].question + rows[0].answer_prefix + rows[0].answer, "cqpa");
}

TEST(SixColumns, AnsweredFilesNeedNoContext) {
  const auto rows = read("a.csv", "task,answer,predicted_answer,compression_ratio\nt,a,\"\",0.5\n",
                         Columns::kAnswered);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].predicted_answer, "");
}

TEST(SixColumns, CsvErrors) {
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != text.npos;
  };
  EXPECT_TRUE(has(problem("a.csv", "context,question,answer_prefx,answer,task,max_new_tokens\n"),
                  "a.csv:1: no column 'answer_prefix'; did you mean 'answer_prefx'"));
  EXPECT_TRUE(has(problem("a.csv", kHeader), "expected rows, found none"));
  EXPECT_TRUE(has(problem("a.csv", std::string(kHeader) + "a,b\n"),
                  "a.csv:2: expected 6 fields as in the header, found 2"));
  EXPECT_TRUE(has(problem("a.csv", std::string(kHeader) + "\"a,b\n"),
                  "a.csv:2: this field's quote is never closed"));
  EXPECT_TRUE(has(problem("a.csv", std::string(kHeader) + "\"a\"b,,,,,\n"), "closing quote"));
  EXPECT_TRUE(has(problem("a.csv", std::string(kHeader) + "a,b,c,d,e,many\n"),
                  "max_new_tokens: expected a whole number of tokens from 1, found 'many'"));
  EXPECT_TRUE(has(problem("a.csv", "task,task\n"), "column 'task' twice"));
}

TEST(SixColumns, JsonLinesErrors) {
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != text.npos;
  };
  EXPECT_TRUE(has(problem("a.jsonl", "\n{\"context\": }\n"), "a.jsonl:2: not valid JSON"));
  EXPECT_TRUE(has(problem("a.jsonl", "[]"), "a.jsonl:1: expected an object"));
  EXPECT_TRUE(has(problem("a.jsonl", "{\"contxt\": 1}"),
                  "a.jsonl:1: no column 'context'; did you mean 'contxt'"));
  EXPECT_TRUE(has(problem("a.jsonl",
                          R"({"context": "", "question": 3, "answer_prefix": "", "answer": "",
                             "task": "", "max_new_tokens": 1})"),
                  "JSON"));  // one object is one line
  EXPECT_TRUE(has(problem("a.jsonl",
                          "{\"context\": \"\", \"question\": 3, \"answer_prefix\": "
                          "\"\", \"answer\": \"\", \"task\": \"\", "
                          "\"max_new_tokens\": 1}"),
                  "a.jsonl:1: question: expected a string, found an integer"));
}

}  // namespace
}  // namespace kv
