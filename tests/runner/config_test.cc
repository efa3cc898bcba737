// Configs: every mistake is an error with its line, before anything is computed.
#include "runner/config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/error.h"
#include "engine/mapped_file.h"
#include "runner/value_io.h"
#include "tests/paths.h"

namespace kv {
namespace {

const std::filesystem::path kFile = source_dir() / "tests/data/x.yaml";

// Models are found beside the config, so that tests need no model folder.
RunConfig parse(const std::string& text, const RunFlags& flags = {}) {
  return parse_config(text, kFile, flags);
}

constexpr const char* kHead = "models: [tiny-qwen2]\ntasks: [perplexity]\n";

struct BadConfig {
  const char* name;
  const char* text;
  std::vector<const char*> expected;  // parts of the message
};

class BadConfigs : public ::testing::TestWithParam<BadConfig> {};

TEST_P(BadConfigs, IsRefusedWithItsPlace) {
  try {
    parse(GetParam().text);
    FAIL() << "accepted";
  } catch (const Error& e) {
    for (const char* part : GetParam().expected) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos)
          << e.what() << "\nlacks: " << part;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, BadConfigs,
    ::testing::Values(
        BadConfig{"empty", "", {"x.yaml", "empty"}},
        BadConfig{"list", "- a\n", {"x.yaml:1", "map"}},
        BadConfig{"unknown_key",
                  "models: [tiny-qwen2]\ntasks: [perplexity]\ncompressor: [none]\n",
                  {"x.yaml:3: compressor", "unknown key", "compressors"}},
        BadConfig{"twice",
                  "models: [tiny-qwen2]\ntasks: [perplexity]\nmodels: [b]\n",
                  {"x.yaml:3: models", "twice", "line 1"}},
        BadConfig{"syntax", "models: [tiny-qwen2\ntasks: 1\n", {"x.yaml:2", "not valid YAML"}},
        BadConfig{"broken_utf8", "models: [a]\n#\xf2s", {"x.yaml:2", "UTF-8", "0xf2 at offset 13"}},
        BadConfig{"control", "models: [a\x04]\n", {"x.yaml:1", "byte 0x04 at offset 10"}},
        BadConfig{"comma", ", models: [a]\ntasks: 1\n", {"x.yaml", "more than one YAML document"}},
        BadConfig{
            "documents", "models: [a]\n---\na: 1\n", {"x.yaml", "more than one YAML document"}},
        BadConfig{"tab", "models:\n\t- a\n", {"x.yaml:2", "not valid YAML"}},
        BadConfig{"run_key",
                  "models: [tiny-qwen2]\ntasks: [perplexity]\nrun:\n  kvdtype: f16\n",
                  {"x.yaml:4", "kvdtype", "kv_dtype"}},
        BadConfig{"run_choice",
                  "models: [tiny-qwen2]\ntasks: [perplexity]\nrun: {kv_dtype: f8}\n",
                  {"x.yaml:3", "kv_dtype", "f8"}},
        BadConfig{"run_type",
                  "models: [tiny-qwen2]\ntasks: [perplexity]\nrun: {threads: two}\n",
                  {"x.yaml:3", "threads", "two"}},
        BadConfig{"run_range",
                  "models: [tiny-qwen2]\ntasks: [perplexity]\nrun: {threads: 0}\n",
                  {"x.yaml:3", "threads"}},
        BadConfig{"int8_weights_of_openblas",
                  "models: [tiny-qwen2]\ntasks: [perplexity]\n"
                  "run: {weights: int8, gemm: openblas}\n",
                  {"x.yaml:3", "int8", "gemm: native"}},
        BadConfig{"memory",
                  "models: [tiny-qwen2]\ntasks: [perplexity]\nrun: {memory: 8 bananas}\n",
                  {"x.yaml:3", "8GiB", "8 bananas"}},
        BadConfig{"ratio",
                  "models: [tiny-qwen2]\ntasks: [perplexity]\ncompressors:\n  - none\n  - "
                  "snapkv(ratio=1.5)\n",
                  {"x.yaml:5", "ratio"}},
        BadConfig{
            "method",
            "models: [tiny-qwen2]\ntasks: [perplexity]\ncompressors:\n  - snapvk(ratio=0.5)\n",
            {"x.yaml:4", "snapvk", "snapkv"}},
        BadConfig{"task",
                  "models: [tiny-qwen2]\ntasks:\n  - perplexty\n",
                  {"x.yaml:3", "perplexty", "perplexity"}},
        BadConfig{"task_twice",
                  "models: [tiny-qwen2]\ntasks:\n  - perplexity\n  - {name: perplexity}\n",
                  {"x.yaml:4", "same task"}},
        BadConfig{"limit_name",
                  "models: [tiny-qwen2]\ntasks: [perplexity]\nlimits: {passkey: 3}\n",
                  {"x.yaml:3", "passkey", "no such task"}},
        BadConfig{"limit_zero",
                  "models: [tiny-qwen2]\ntasks: [perplexity]\nlimits: {perplexity: 0}\n",
                  {"x.yaml:3", "from 1"}},
        BadConfig{"answer_limit",
                  "models: [tiny-qwen2]\ntasks: [perplexity]\nlimits: {max_new_tokens: no}\n",
                  {"x.yaml:3", "tokens of an answer"}},
        BadConfig{"if_allowed_type",
                  "models: [tiny-qwen2]\ntasks: [{name: code_exec, if_allowed: perhaps}]\n",
                  {"x.yaml:2", "if_allowed", "perhaps"}},
        BadConfig{"if_allowed_without_programs",
                  "models: [tiny-qwen2]\ntasks: [{name: perplexity, if_allowed: true}]\n",
                  {"x.yaml:2", "if_allowed", "perplexity"}},
        BadConfig{"no_model", "tasks: [perplexity]\n", {"x.yaml", "no models"}},
        BadConfig{"no_task", "models: [tiny-qwen2]\n", {"x.yaml", "no tasks"}},
        BadConfig{"model_missing",
                  "models:\n  - tiny-nothing\ntasks: [perplexity]\n",
                  {"x.yaml:2", "tiny-nothing"}},
        BadConfig{"model_twice",
                  "models:\n  - tiny-qwen2\n  - tiny-qwen2\ntasks: [perplexity]\n",
                  {"x.yaml:3", "twice"}},
        BadConfig{"model_type",
                  "models:\n  - 3\ntasks: [perplexity]\n",
                  {"x.yaml:2", "expected a model"}}),
    [](const auto& instance) { return instance.param.name; });

// Models are not looked up here: a tiny one stands in for those that users fetch.
TEST(Config, EveryShippedConfigIsValid) {
  int n_read = 0;
  const std::filesystem::path folder = source_dir() / "configs";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".yaml") continue;
    SCOPED_TRACE(entry.path().string());
    RunFlags flags;
    flags.models = {source_dir().string() + "/tests/data/tiny-qwen2"};
    flags.allow_code_execution = true;
    flags.sets = {"run.sandbox=rlimits"};  // valid also where this machine cannot isolate
    const RunConfig config = parse_config(read_whole_file(entry.path()), entry.path(), flags);
    EXPECT_GE(config.compressors.size(), 2u);
    EXPECT_GE(config.tasks.size(), 1u);
    ++n_read;
  }
  EXPECT_GE(n_read, 6);
}

// What kv-exec-bench's results.csv has rows for: {press, ratio}, besides the full cache.
std::vector<std::string> grid_of(const std::string& config_name) {
  const std::filesystem::path file = source_dir() / "configs" / config_name;
  RunFlags flags;
  flags.models = {source_dir().string() + "/tests/data/tiny-qwen2"};
  flags.allow_code_execution = true;
  flags.sets = {"run.sandbox=rlimits"};
  std::vector<std::string> grid;
  for (const CompressorSpec& spec : parse_config(read_whole_file(file), file, flags).compressors) {
    grid.push_back(fmt::format("{} {}", spec.short_name, spec.ratio));
  }
  return grid;
}

TEST(Config, KvExecBenchHasItsPublishedGrids) {
  std::vector<std::string> tool_call = {"none 0"};
  for (const char* name : {"random", "streamingllm", "snapkv", "knorm", "expected_attention"}) {
    for (const char* ratio : {"0.25", "0.5", "0.75"}) {
      tool_call.push_back(fmt::format("{} {}", name, ratio));
    }
  }
  EXPECT_EQ(grid_of("kv-exec-bench.yaml"), tool_call);
  EXPECT_EQ(grid_of("kv-exec-bench-code.yaml"),
            (std::vector<std::string>{"none 0", "snapkv 0.5", "knorm 0.5"}));
}

TEST(Config, ATaskMayBeLeftOutWhereItsProgramsMayNotRun) {
  unsetenv("KVENGINE_ALLOW_CODE_EXECUTION");
  const auto config_with = [](const std::string& if_allowed) {
    return fmt::format(
        "models: [tiny-qwen2]\nrun: {{sandbox: rlimits}}\n"
        "tasks:\n  - perplexity\n  - {{name: code_exec{}}}\nlimits: {{code_exec: 3}}\n",
        if_allowed);
  };
  const RunConfig without = parse(config_with(", if_allowed: true"));
  ASSERT_EQ(without.tasks.size(), 1u);
  EXPECT_EQ(without.tasks[0].task->name(), "perplexity");
  EXPECT_TRUE(std::any_of(without.notes.begin(), without.notes.end(), [](const std::string& note) {
    return note.starts_with("left out: x.yaml:5") &&
           note.find("--allow-code-execution") != std::string::npos;
  }));
  RunFlags flags;
  flags.allow_code_execution = true;
  EXPECT_EQ(parse(config_with(", if_allowed: true"), flags).tasks.size(), 2u);
  EXPECT_THROW(parse(config_with("")), Error);
  EXPECT_THROW(parse(config_with(", if_allowed: false")), Error);
}

TEST(Config, AddsTheBaselineFirstAndMergesEqualCompressors) {
  const RunConfig config =
      parse(std::string(kHead) +
            "compressors:\n  - {name: knorm, ratio: [0.5, 0.25]}\n  - knorm(ratio=0.5)\n");
  ASSERT_EQ(config.compressors.size(), 3u);
  EXPECT_TRUE(config.compressors[0].is_none());
  EXPECT_DOUBLE_EQ(config.compressors[1].ratio, 0.5);
  EXPECT_DOUBLE_EQ(config.compressors[2].ratio, 0.25);
  EXPECT_EQ(config.notes.size(), 2u);
}

TEST(Config, PathsAreRelativeToTheConfig) {
  const RunConfig config = parse(std::string(kHead) + "run: {out: results/a}\n");
  EXPECT_EQ(config.run.out, kFile.parent_path() / "results/a");
  EXPECT_EQ(parse(kHead).run.out, kFile.parent_path() / "results/x");
  EXPECT_EQ(config.models[0].location,
            std::filesystem::weakly_canonical(kFile.parent_path() / "tiny-qwen2"));
}

TEST(Config, FlagsWin) {
  RunFlags flags;
  flags.threads = 3;
  flags.limit = 2;
  flags.max_new_tokens = 7;
  flags.compressors = {"int4"};
  flags.out = "elsewhere";
  flags.shard = "1/4";
  flags.sets = {"run.kv_dtype=bf16", "run.seed=5"};
  const RunConfig config = parse(std::string(kHead) +
                                     "compressors: [knorm(ratio=0.5)]\nlimits: {perplexity: "
                                     "9}\nrun: {threads: 1, kv_dtype: f32}\n",
                                 flags);
  EXPECT_EQ(config.run.threads, 3);
  EXPECT_EQ(config.run.max_new_tokens, 7);
  EXPECT_EQ(config.run.kv_dtype, "bf16");
  EXPECT_EQ(config.run.seed, 5);
  EXPECT_EQ(config.tasks[0].limit, 2);
  ASSERT_EQ(config.compressors.size(), 2u);
  EXPECT_EQ(config.compressors[1].short_name, "int4");
  EXPECT_EQ(config.run.out, std::filesystem::absolute("elsewhere"));
  EXPECT_EQ(config.shard.index, 1);
  EXPECT_EQ(config.shard.count, 4);
}

TEST(Config, AnswerLimitHoldsForEveryTask) {
  const std::string text = std::string(kHead) + "limits: {perplexity: 2, max_new_tokens: 32}\n";
  RunConfig config = parse(text);
  EXPECT_EQ(config.run.max_new_tokens, 32);
  EXPECT_TRUE(config.run.same_max_new_tokens);
  EXPECT_EQ(config.tasks[0].limit, 2);
  EXPECT_EQ(resolved_config_json(config)["limits"]["max_new_tokens"], 32);
  RunFlags flags;
  flags.max_new_tokens = 8;
  config = parse(text, flags);
  EXPECT_EQ(config.run.max_new_tokens, 8);
  EXPECT_EQ(resolved_config_json(config)["limits"]["max_new_tokens"], 8);
  EXPECT_FALSE(parse(kHead).run.same_max_new_tokens);
}

TEST(Config, CanaryNamesOfTasksAndMethods) {
  const RunConfig config = parse(
      "models: [tiny-qwen2]\ntasks: [tool]\nlimits: {tool: 3}\n"
      "compressors:\n  - {method: full, budget: 1.0}\n  - {method: quantized, budget: 0.25}\n"
      "  - {method: snapkv, budget: 0.25}\n");
  EXPECT_EQ(config.tasks[0].task->name(), "tool_call");
  EXPECT_EQ(config.tasks[0].limit, 3);
  ASSERT_EQ(config.compressors.size(), 3u);
  EXPECT_EQ(config.compressors[1].short_name, "int4");
  EXPECT_EQ(config.compressors[2].ratio, 0.75);
}

TEST(Config, FlagsAreCheckedToo) {
  RunFlags flags;
  flags.threads = 0;
  EXPECT_THROW(parse(kHead, flags), Error);
  flags = {};
  flags.limit = 0;
  EXPECT_THROW(parse(kHead, flags), Error);
  flags = {};
  for (const char* set :
       {"run.kv_dtype", "run.nothing=1", "=1", "tasks[7]=x", "run..x=1", "run[0]=1"}) {
    flags.sets = {set};
    EXPECT_THROW(parse(kHead, flags), Error) << set;
  }
}

TEST(Config, SetReachesListsAndMakesMaps) {
  Value root = parse_yaml("tasks: [{name: perplexity, lengths: [1]}]\n", "x.yaml");
  apply_set(root, "tasks[0].lengths=[256, 512]");
  apply_set(root, "run.threads=2");
  EXPECT_EQ(root.find("tasks")->items[0].find("lengths")->items.size(), 2u);
  EXPECT_DOUBLE_EQ(root.find("run")->find("threads")->number, 2);
}

TEST(Config, ReadsSizes) {
  EXPECT_EQ(parse_bytes("8GiB"), int64_t{8} << 30);
  EXPECT_EQ(parse_bytes("1.5 kB"), 1500);
  EXPECT_EQ(parse_bytes("1024"), 1024);
  EXPECT_EQ(parse_bytes("GiB"), std::nullopt);
  EXPECT_EQ(parse_bytes("-1GiB"), std::nullopt);
  EXPECT_EQ(parse_bytes("1 parsec"), std::nullopt);
}

TEST(Config, ReadsShards) {
  for (const char* bad : {"", "1", "1/", "/2", "2/2", "-1/2", "0/0", "a/b", "0/2x"}) {
    EXPECT_THROW(parse_shard(bad), Error) << bad;
  }
  EXPECT_EQ(parse_shard("0/1").count, 1);
}

TEST(Yaml, TypesFollowTheCoreSchema) {
  const Value v = parse_yaml(
      "a: 1\nb: '1'\nc: true\nd: yes\ne:\nf: 1e-4\ng: .5\nh: snapkv(ratio=0.5)\ni: -3\nj: inf\n",
      "x.yaml");
  EXPECT_TRUE(v.find("a")->is_number());
  EXPECT_TRUE(v.find("b")->is_string());
  EXPECT_EQ(v.find("c")->kind, Value::Kind::kBool);
  EXPECT_TRUE(v.find("d")->is_string());
  EXPECT_TRUE(v.find("e")->is_null());
  EXPECT_DOUBLE_EQ(v.find("f")->number, 1e-4);
  EXPECT_DOUBLE_EQ(v.find("g")->number, 0.5);
  EXPECT_TRUE(v.find("h")->is_string());
  EXPECT_DOUBLE_EQ(v.find("i")->number, -3);
  EXPECT_TRUE(v.find("j")->is_string());
  EXPECT_EQ(v.find("h")->place, "x.yaml:8: h");
}

TEST(Yaml, RefusesAliasesWithoutEnd) {
  EXPECT_THROW(parse_yaml("a: &x [*x]\n", "x.yaml"), Error);
  EXPECT_THROW(parse_yaml("a: 1\n---\nb: 2\n", "x.yaml"), Error);
}

TEST(Json, NamesPlacesAndRefusesDuplicates) {
  const Value v = parse_json("[{\"prompt_ids\": [1, 2.5]}]", "r.json");
  EXPECT_EQ(v.items[0].find("prompt_ids")->items[1].place, "r.json: [0].prompt_ids[1]");
  EXPECT_THROW(parse_json("{\"a\": 1, \"a\": 2}", "r.json"), Error);
  try {
    parse_json("{\n  \"a\": nope\n}", "r.json");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("r.json:2"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace kv
