// code_exec: prompts of each protocol, what is taken from answers, and the verdicts.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "tasks/code_extract.h"
#include "tasks/code_problems.h"
#include "tasks/sandbox.h"
#include "tasks/scorers/edit_sim.h"
#include "tasks/text_data.h"
#include "tests/paths.h"
#include "tests/tasks/test_tools.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path reference(const std::string& name) {
  return source_dir() / "../shared/data" / name;
}

std::string sandbox_problem() {
  return Sandbox(SandboxKind::kBubblewrap).problem();
}

TextTools chat_tools() {
  TextTools tools = byte_tools();
  tools.split_chat = [](const std::string& text) {
    return std::make_pair("<user>" + text, std::string("</user>"));
  };
  return tools;
}

std::unique_ptr<Task> code_task(std::vector<std::pair<std::string, Value>> entries = {},
                                const std::string& folder = "") {
  return make_task(task_value("code_exec", std::move(entries)), folder);
}

Answer answer_of(const std::string& text) {
  Answer answer;
  answer.text = text;
  return answer;
}

TEST(CodeExtract, AFunctionEndsAtTheFirstLineOfColumnZero) {
  EXPECT_EQ(cut_after_function("    return 1\n\ndef g():\n    pass\n"), "    return 1\n");
  EXPECT_EQ(cut_after_function("    return 1\nprint(1)\n"), "    return 1\n");
  EXPECT_EQ(cut_after_function("    x = 1\n\n# a note\n\n    return x\n# end\n@d\ndef g(): 1\n"),
            "    x = 1\n\n# a note\n\n    return x\n");
  EXPECT_EQ(cut_after_function("    return 1"), "    return 1");
  EXPECT_EQ(cut_after_function("Here is the function:\n    return 1\n"), "");
  EXPECT_EQ(cut_after_function(""), "");
  EXPECT_EQ(cut_after_function("\n\n    return 1\nx\n"), "\n\n    return 1\n");
  EXPECT_EQ(cut_after_function(" 1\n    return x\ny\n", false), " 1\n    return x\n");
  EXPECT_EQ(cut_after_function("\treturn 1\r\nx = 2\r\n"), "\treturn 1\r\n");
}

TEST(CodeExtract, StringsBracketsAndBackslashesReachColumnZero) {
  for (const char* inside :
       {"    x = \"\"\"\ntext ' ( [\n\"\"\"\n    return x\n",
        "    x = [\n1,\n2,\n]\n    return x\n", "    x = 1 + \\\n2\n    return x\n",
        "    x = '# ('\n    return x  # isn't (\n", "    x = '''\n\\''' (\n'''\n    return x\n",
        "    x = \"it's (\"\n    return x\n"}) {
    EXPECT_EQ(cut_after_function(std::string(inside) + "print(x)\n"), inside);
  }
  // A string that its line leaves open ends there, as in Python.
  EXPECT_EQ(cut_after_function("    x = 'open\nprint(x)\n"), "    x = 'open\n");
}

TEST(CodeExtract, ChatAnswersGiveTheirBlock) {
  const std::string code = "def f(x):\n    return x\n";
  EXPECT_EQ(code_of_chat_answer("Sure!\n```python\n" + code + "```\nDone.", "f"), code);
  EXPECT_EQ(code_of_chat_answer("```\npip install x\n```\nthen\n```py\n" + code + "```", "f"),
            code);
  EXPECT_EQ(code_of_chat_answer("```python\n" + code, "f"), code);
  EXPECT_EQ(code_of_chat_answer("~~~~Python\n" + code + "~~~\n~~~~\n", "f"), code + "~~~\n");
  EXPECT_EQ(code_of_chat_answer("```bash\nls\n```\n```python\n    return x\n```", "f"),
            "    return x\n");
  EXPECT_EQ(code_of_chat_answer("Here it is:\n\n" + code + "\nThis works.", "f"), code + "\n");
  EXPECT_EQ(code_of_chat_answer("I cannot do that.", "f"), "");
}

TEST(CodeExtract, ProgramsEndWhereModelsGoOnWithTests) {
  EXPECT_EQ(cut_after_program("def f():\n    pass\nassert f()\n"), "def f():\n    pass");
  EXPECT_EQ(cut_after_program("import re\n\ndef g(): 1\n\ndef f(): 2\n"),
            "import re\n\ndef g(): 1\n\ndef f(): 2\n");
}

TEST(CodeProblems, EveryFormatIsRead) {
  const auto read = [](const std::string& text) { return read_code_problems(text, "p.jsonl"); };
  const CodeProblem humaneval = read(
      R"({"task_id":"H/0","prompt":"def f():\n","entry_point":"f","canonical_solution":" 1","test":"def check(c): 1"})")
      [0];
  EXPECT_EQ(humaneval.prefix + "|" + humaneval.test, "def f():\n|def check(c): 1\n\ncheck(f)\n");
  const CodeProblem mbpp = read(
      R"({"task_id":2,"text":"Do.","code":"def help(x):\n  1\ndef sum(a, b):\n  return a","test_setup_code":"import re","test_list":["assert sum(1,2)==1"]})")
      [0];
  EXPECT_EQ(mbpp.id + "|" + mbpp.entry_point + "|" + mbpp.prefix, "2|sum|import re\n");
  EXPECT_TRUE(mbpp.is_whole);
  const CodeProblem six = read(
      R"({"context":"def f():\n","question":"","answer_prefix":"","answer":"{\"test\": \"t\", \"entry_point\": \"f\", \"canonical_solution\": \"s\"}","task":"humaneval","max_new_tokens":512})")
      [0];
  EXPECT_EQ(six.id + six.prompt + six.solution, "0def f():\ns");
  EXPECT_EQ(read(R"([{"id":"add","prompt":"p","check":"c","prefix":""}])")[0].test, "c");
}

TEST(CodeProblems, MistakesAreNamedWithTheirPlace) {
  const auto message = [](const std::string& text) {
    return error_of([&] { read_code_problems(text, "p.jsonl"); });
  };
  EXPECT_NE(message("\n{\"x\": 1}\n").find("p.jsonl:2"), std::string::npos);
  EXPECT_NE(message("{\"x\": 1").find("p.jsonl:1: not valid JSON"), std::string::npos);
  EXPECT_NE(message(R"({"entry_point":"f","task_id":"a","test":"t"})").find("'prompt'"),
            std::string::npos);
  EXPECT_NE(message(R"({"entry_point":"f g","task_id":"a","prompt":"p","test":"t"})").find("f g"),
            std::string::npos);
  EXPECT_NE(message(R"({"task_id":1,"text":"t","code":"c","test_list":"x"})").find("test_list"),
            std::string::npos);
  EXPECT_NE(message("[]").find("found none"), std::string::npos);
}

TEST(EditSim, KnownValues) {
  EXPECT_EQ(edit_similarity("", ""), 1.0);
  EXPECT_EQ(edit_similarity("", "abc"), 0.0);
  EXPECT_EQ(edit_similarity("abcd", "bcde"), 0.75);
  EXPECT_EQ(edit_similarity("für", "fur"), 2.0 / 3);  // code points, not bytes
}

TEST(EditSim, GoldenOfTheReference) {
  const fs::path file = reference("kv-exec-bench/golden_edit_sim.jsonl");
  if (!fs::exists(file)) GTEST_SKIP() << file << " is not here";
  int n = 0;
  for (std::string_view line : lines_not_blank(read_text_file(file))) {
    const json row = json::parse(line);
    EXPECT_NEAR(edit_similarity(row["predicted"], row["canonical"]), row["edit_sim"].get<double>(),
                5.0001e-5)
        << line;
    ++n;
  }
  EXPECT_GT(n, 5);
}

TEST(CodeExec, PromptsOfTheProtocols) {
  const TextTools tools = chat_tools();
  const auto shown = [&](const std::unique_ptr<Task>& task) {
    const Sample sample = task->samples(tools, 1).at(0);
    return fmt::format("{}|{}|{}|{}", sample.id, tools.decode(sample.context_ids),
                       tools.decode(sample.continuation_ids), sample.max_new_tokens);
  };
  const std::string prompt =
      read_code_problems(read_text_file(shipped_data("code/problems.jsonl")), "p")[0].prompt;
  EXPECT_EQ(shown(code_task()), "kvengine/0|" + prompt + "||0");
  EXPECT_EQ(shown(code_task({{"protocol", text_value("kv-canary")}})),
            "kvengine/0|" + prompt + "||0");
  EXPECT_EQ(shown(code_task({{"protocol", text_value("kv-exec-bench")}})),
            "0|<user>" + prompt + "|</user>|512");
  const std::string chat = shown(code_task({{"chat", Value::of(true)}}));
  EXPECT_NE(chat.find("```python\n" + prompt + "```|</user>|0"), std::string::npos) << chat;
  EXPECT_FALSE(code_task()->samples(tools, 1)[0].stop.empty());
  EXPECT_TRUE(
      code_task({{"protocol", text_value("kv-canary")}})->samples(tools, 1)[0].stop.empty());
}

TEST(CodeExec, CodeIsKvCanarysName) {
  EXPECT_EQ(make_task(text_value("code"), "")->canonical(), "code_exec(protocol=kv-canary)");
}

TEST(CodeExec, ItsParametersAreChecked) {
  const std::string message = error_of([] {
    code_task({{"protocol", text_value("kv-canary")}, {"chat", Value::of(true)}});
  });
  EXPECT_NE(message.find("test.yaml:8: tasks[0].chat"), std::string::npos) << message;
  EXPECT_NE(error_of([] { code_task({{"data", text_value("missing.jsonl")}}); }), "");
}

TEST(CodeExec, NothingRunsUnlessAllowed) {
  const std::unique_ptr<Task> task = code_task();
  EXPECT_TRUE(task->runs_code());
  const Sample sample = task->samples(byte_tools(), 1)[0];
  EXPECT_NE(error_of([&] { task->score(sample, answer_of("")); }).find("--allow-code-execution"),
            std::string::npos);
}

TEST(CodeExec, ShippedProblemsPassWithTheirSolutionsInEveryProtocol) {
  if (!sandbox_problem().empty()) GTEST_SKIP() << "no sandbox here: " << sandbox_problem();
  const std::vector<CodeProblem> problems =
      read_code_problems(read_text_file(shipped_data("code/problems.jsonl")), "p");
  for (const char* protocol : {"ours", "kv-exec-bench", "kv-canary"}) {
    const std::unique_ptr<Task> task = code_task({{"protocol", text_value(protocol)}});
    task->allow_code("bubblewrap");
    const std::vector<Sample> samples = task->samples(chat_tools(), -1);
    ASSERT_EQ(samples.size(), problems.size());
    for (size_t i = 0; i < samples.size(); ++i) {
      const Scores right = task->score(samples[i], answer_of(problems[i].solution));
      EXPECT_EQ(right.at("pass@1"), 1) << samples[i].id;
      EXPECT_EQ(right.count("edit_sim"), std::string(protocol) == "kv-exec-bench" ? 1u : 0u);
    }
    EXPECT_EQ(task->score(samples[0], answer_of("    return None\n")).at("pass@1"), 0);
    // Only ours cuts what models go on with.
    const Scores trailing =
        task->score(samples[0], answer_of(problems[0].solution + "\nI hope this helps!\n"));
    EXPECT_EQ(trailing.at("pass@1"), std::string(protocol) == "ours" ? 1 : 0) << protocol;
  }
}

TEST(CodeExec, ChatAnswersRunWithThePromptsHelpers) {
  if (!sandbox_problem().empty()) GTEST_SKIP() << "no sandbox here: " << sandbox_problem();
  const std::unique_ptr<Task> task = code_task({{"chat", Value::of(true)}});
  task->allow_code("bubblewrap");
  const std::vector<CodeProblem> problems =
      read_code_problems(read_text_file(shipped_data("code/problems.jsonl")), "p");
  const std::vector<Sample> samples = task->samples(chat_tools(), -1);
  for (size_t i = 0; i < samples.size(); ++i) {
    const CodeProblem& problem = problems[i];
    // Whole function without its imports and helpers, then the body alone.
    const std::string from_def =
        problem.prompt.substr(problem.prompt.find("def " + problem.entry_point));
    for (const std::string& code : {from_def + problem.solution, problem.solution}) {
      EXPECT_EQ(task->score(samples[i], answer_of("Of course:\n```python\n" + code + "```\nDone."))
                    .at("pass@1"),
                1)
          << problem.id << "\n"
          << code;
    }
  }
}

TEST(CodeExec, MbppFormat) {
  if (!sandbox_problem().empty()) GTEST_SKIP() << "no sandbox here: " << sandbox_problem();
  const ScratchFolder folder;
  folder.write("mbpp.jsonl",
               R"({"task_id":7,"text":"Add.","code":"def sum(a, b):\n    return a + b",)"
               R"("test_setup_code":"","test_list":["assert sum(1, 2) == 3"]})"
               "\n");
  for (const bool chat : {false, true}) {
    const std::unique_ptr<Task> task =
        code_task({{"data", text_value("mbpp.jsonl")}, {"chat", Value::of(chat)}}, folder.folder());
    task->allow_code("bubblewrap");
    const Sample sample = task->samples(chat_tools(), -1).at(0);
    EXPECT_EQ(sample.id, "7");
    const std::string code = "def sum(a, b):\n    return a + b\n";
    const std::string answer =
        chat ? "```python\n" + code + "```" : code + "\nassert sum(1, 1) == 3\n";
    EXPECT_EQ(task->score(sample, answer_of(answer)).at("pass@1"), 1);
    EXPECT_EQ(task->score(sample, answer_of("def sum(a, b): pass")).at("pass@1"), 0);
  }
}

// All 164 of HumanEval: canonical solutions pass, broken bodies fail.
TEST(CodeExec, SlowHumanEvalCanonicalSolutionsPassAndBrokenOnesFail) {
  const fs::path file = reference("humaneval/HumanEval.jsonl");
  if (!fs::exists(file)) GTEST_SKIP() << file << " is not here";
  if (!sandbox_problem().empty()) GTEST_SKIP() << "no sandbox here: " << sandbox_problem();
  const std::unique_ptr<Task> task = code_task({{"data", text_value(file.string())}});
  task->allow_code("bubblewrap");
  const std::vector<CodeProblem> problems = read_code_problems(read_text_file(file), "HumanEval");
  const std::vector<Sample> samples = task->samples(byte_tools(), -1);
  ASSERT_EQ(samples.size(), 164u);
  int passed = 0, broken_passed = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const bool right = task->score(samples[i], answer_of(problems[i].solution)).at("pass@1") == 1;
    EXPECT_TRUE(right) << samples[i].id;
    passed += right;
    const bool wrong =
        task->score(samples[i], answer_of("    raise ValueError('broken')\n")).at("pass@1") == 1;
    EXPECT_FALSE(wrong) << samples[i].id;
    broken_passed += wrong;
  }
  EXPECT_EQ(passed, 164);
  EXPECT_EQ(broken_passed, 0);
}

}  // namespace
}  // namespace kv
