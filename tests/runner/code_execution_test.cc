// Programs that a model wrote run only where the user allowed it, and a run with them ends well.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tasks/sandbox.h"
#include "tests/runner/program.h"

namespace kv {
namespace {

std::string config_text(const std::string& run = "") {
  return "models: [" + tiny_model() + "]\ntasks: [{name: code_exec, max_new_tokens: 4}]\n" +
         "limits: {code_exec: 2}\nrun: {out: out" + run + "}\n";
}

TEST(CodeExecution, IsRefusedBeforeAnyWorkUnlessAllowed) {
  const TestFolder folder;
  write_text(folder.path() / "c.yaml", config_text());
  for (const char* verb : {"run c.yaml", "validate c.yaml", "run c.yaml --dry-run"}) {
    for (const char* environment :
         {"", "KVENGINE_ALLOW_CODE_EXECUTION=0", "KVENGINE_ALLOW_CODE_EXECUTION=true"}) {
      const ProgramResult result = folder.run(verb, environment);
      EXPECT_EQ(result.status, 2) << verb << " " << environment << "\n" << result.err;
      for (const char* part :
           {"c.yaml:2", "code_exec", "--allow-code-execution", "KVENGINE_ALLOW_CODE_EXECUTION=1"}) {
        EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
      }
      EXPECT_FALSE(std::filesystem::exists(folder.path() / "out"));
    }
  }
}

TEST(CodeExecution, RunsWhereAllowedAndRecordsEverySample) {
  const std::string problem = Sandbox(SandboxKind::kBubblewrap).problem();
  if (!problem.empty()) GTEST_SKIP() << "no sandbox here: " << problem;
  const TestFolder folder;
  write_text(folder.path() / "c.yaml", config_text());
  EXPECT_EQ(folder.run("validate c.yaml --allow-code-execution").status, 0);
  const ProgramResult result = folder.run("run c.yaml --quiet", "KVENGINE_ALLOW_CODE_EXECUTION=1");
  ASSERT_EQ(result.status, 0) << result.err;
  std::ifstream samples(folder.path() / "out/samples.jsonl");
  int n = 0;
  for (std::string line; std::getline(samples, line); ++n) {
    const nlohmann::json record = nlohmann::json::parse(line);
    if (!record.contains("scores")) continue;
    EXPECT_EQ(record["scores"]["pass@1"], 0);  // a model of random weights
    EXPECT_TRUE(record["error"].is_null() || record["error"] == "");
  }
  EXPECT_GE(n, 2);
}

TEST(CodeExecution, RlimitsIsAChoiceOfTheConfig) {
  const std::string problem = Sandbox(SandboxKind::kRlimits).problem();
  if (!problem.empty()) GTEST_SKIP() << "no sandbox here: " << problem;
  const TestFolder folder;
  write_text(folder.path() / "c.yaml", config_text(", sandbox: rlimits"));
  const ProgramResult result = folder.run("run c.yaml --quiet --allow-code-execution");
  EXPECT_EQ(result.status, 0) << result.err;
}

}  // namespace
}  // namespace kv
