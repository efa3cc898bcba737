// The built program: exit statuses, messages, and that stdout carries nothing but results.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "engine/safetensors.h"
#include "tests/runner/program.h"

namespace kv {
namespace {

TEST(Cli, UsageErrorsEndWithTwo) {
  const TestFolder folder;
  for (const char* arguments : {"", "nothing", "run", "run a.yaml b.yaml", "run --no-such-flag",
                                "list metals", "generate", "compare a", "score", "run missing.yaml",
                                "generate --model x --prompt p --top-p 3", "pull nothing-known"}) {
    const ProgramResult result = folder.run(arguments);
    EXPECT_EQ(result.status, 2) << arguments << "\n" << result.err;
    EXPECT_EQ(result.out, "") << arguments;
    EXPECT_NE(result.err, "") << arguments;
  }
}

TEST(Cli, EveryVerbHasHelpWithAnExample) {
  const TestFolder folder;
  for (const char* verb : {"run", "validate", "report", "compare", "probe", "generate", "tokenize",
                           "list", "inspect", "pull", "env", "score"}) {
    const ProgramResult result = folder.run(std::string(verb) + " --help");
    EXPECT_EQ(result.status, 0) << verb;
    EXPECT_NE(result.out.find("Example: "), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("kvengine " + std::string(verb)), std::string::npos) << result.out;
  }
}

TEST(Cli, AMissingModelEndsWithThreeAndSaysWhereItLooked) {
  const TestFolder folder;
  const ProgramResult result = folder.run("inspect no-such-model");
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.err.find("no-such-model"), std::string::npos);
  EXPECT_NE(result.err.find("pull"), std::string::npos);
}

TEST(Cli, AnUnknownInstructionSetEndsWithTwo) {
  const TestFolder folder;
  const ProgramResult result = folder.run("env", "KVENGINE_ISA=mmx");
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("mmx"), std::string::npos);
}

TEST(Cli, EnvAndListsAreJson) {
  const TestFolder folder;
  const ProgramResult env = folder.run("env", "KVENGINE_ISA=scalar");
  ASSERT_EQ(env.status, 0) << env.err;
  EXPECT_EQ(nlohmann::json::parse(env.out).at("isa"), "scalar");
  for (const char* what : {"models", "compressors", "tasks"}) {
    const ProgramResult list = folder.run(std::string("list --json ") + what);
    ASSERT_EQ(list.status, 0) << list.err;
    EXPECT_TRUE(nlohmann::json::parse(list.out).is_array());
  }
  EXPECT_NE(folder.run("list compressors").out.find("snapkv"), std::string::npos);
  const std::string models = folder.run("list models", "KVENGINE_MODELS=nowhere ").out;
  EXPECT_NE(models.find("architecture Gemma3ForCausalLM"), std::string::npos) << models;
  EXPECT_NE(models.find("GGUF: qwen2"), std::string::npos) << models;
}

TEST(Cli, TokenizeIsUndoneByDecode) {
  const TestFolder folder;
  write_text(folder.path() / "text.txt", "Hello  world,\n caf\xC3\xA9 42!\n");
  const std::string model = "tokenize --model '" + tiny_model() + "' ";
  const ProgramResult ids = folder.run(model + "--file text.txt");
  ASSERT_EQ(ids.status, 0) << ids.err;
  write_text(folder.path() / "ids.json", ids.out);
  EXPECT_EQ(folder.run(model + "--decode --file ids.json").out,
            file_text(folder.path() / "text.txt"));
  const ProgramResult lines = folder.run(model + "--lines <text.txt");
  EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), 2);
  EXPECT_EQ(folder.run(model + "--decode --file text.txt").status, 2);
}

TEST(Cli, TokenizeTakesChats) {
  const TestFolder folder;
  std::filesystem::copy(tiny_model(), folder.path() / "model");
  write_text(folder.path() / "model/chat_template.jinja",
             "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
             "{% if add_generation_prompt %}<ai>{% endif %}{{ name }}");
  write_text(folder.path() / "chats.jsonl",
             R"({"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": true}
{"messages": [{"role": "user", "content": "a\nb"}, {"role": "ai", "content": ""}], "name": "x"})");
  const ProgramResult result =
      folder.run("tokenize --model ./model --chat --lines --file chats.jsonl");
  ASSERT_EQ(result.status, 0) << result.err;
  const size_t second = result.out.find('\n') + 1;
  const auto first = nlohmann::json::parse(result.out.substr(0, second));
  EXPECT_EQ(first.at("text"), "<user>hi<ai>");
  write_text(folder.path() / "ids.json", first.at("ids").dump());
  EXPECT_EQ(folder.run("tokenize --model ./model --decode --file ids.json").out, "<user>hi<ai>");
  EXPECT_EQ(nlohmann::json::parse(result.out.substr(second)).at("text"), "<user>a\nb<ai>x");
  write_text(folder.path() / "chats.jsonl", "[1]\n");
  const ProgramResult wrong =
      folder.run("tokenize --model ./model --chat --lines --file chats.jsonl");
  EXPECT_EQ(wrong.status, 2);
  EXPECT_NE(wrong.err.find("chats.jsonl:1: expected a JSON object"), std::string::npos)
      << wrong.err;
}

TEST(Cli, GenerateIsTheSameForAnyNumberOfThreads) {
  const TestFolder folder;
  const std::string arguments =
      "generate --model '" + tiny_model() +
      "' --prompt 'The lighthouse keeper counted the boats' --ignore-eos "
      "--max-new-tokens 12 --compressor 'snapkv(ratio=0.5,window=4)+int8' ";
  const ProgramResult one = folder.run(arguments + "--threads 1");
  const ProgramResult two = folder.run(arguments + "--threads 2");
  ASSERT_EQ(one.status, 0) << one.err;
  EXPECT_EQ(one.out, two.out);
  const auto hash = [](const std::string& err) { return err.substr(err.find("logits")); };
  EXPECT_EQ(hash(one.err), hash(two.err));
}

std::string line_of(const std::string& text, const std::string& beginning) {
  const size_t at = text.find(beginning);
  return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}

TEST(Cli, SavedCachesGoOnWithoutAPrefill) {
  const TestFolder folder;
  const std::string model = "generate --model '" + tiny_model() + "' ";
  const std::string first = "--prompt 'The lighthouse keeper counted the boats every evening.' ";
  const std::string most = "--ignore-eos --max-new-tokens 9 ";
  const std::string method =
      "--compressor 'snapkv(ratio=0.5,window=4,decode=(every=4,keep=6))+int8' ";
  const ProgramResult made = folder.run(model + first + most + method + "--save-cache c.cache");
  ASSERT_EQ(made.status, 0) << made.err;
  const ProgramResult back = folder.run(model + most + "--load-cache c.cache");
  ASSERT_EQ(back.status, 0) << back.err;
  EXPECT_EQ(back.out, made.out);
  EXPECT_EQ(line_of(back.err, "logits"), line_of(made.err, "logits"));
  EXPECT_EQ(line_of(back.err, "KV cache"), line_of(made.err, "KV cache"));
  EXPECT_EQ(line_of(back.err, "prefill").substr(0, 18), "prefill   0 tokens");
  EXPECT_NE(back.err.find("nothing computed"), std::string::npos);

  // Questions do not see each other.
  write_text(folder.path() / "questions.txt", "What did he count?\nWhen?\n");
  const ProgramResult both =
      folder.run(model + most + "--load-cache c.cache --lines --file questions.txt");
  const ProgramResult second = folder.run(model + most + "--load-cache c.cache --prompt 'When?'");
  ASSERT_EQ(both.status, 0) << both.err;
  EXPECT_TRUE(both.out.ends_with(second.out)) << both.out << second.out;
  EXPECT_NE(both.out, second.out);

  const auto refusal = [&](const std::string& arguments) {
    const ProgramResult r = folder.run(arguments);
    return fmt::format("{}: {}", r.status, r.err);
  };
  const std::string other = "generate --model '" + tiny_model("tiny-llama") + "' ";
  EXPECT_NE(refusal(other + "--load-cache c.cache").find("another model"), std::string::npos);
  EXPECT_TRUE(refusal(other + "--load-cache c.cache").starts_with("3: "));
  EXPECT_TRUE(refusal(model + "--load-cache none.cache").starts_with("3: "));
  EXPECT_TRUE(refusal(model + "--load-cache c.cache " + method).starts_with("2: "));
  EXPECT_TRUE(refusal(model + "--load-cache c.cache --lines --prompt x").starts_with("2: "));
  const std::string whole = file_text(folder.path() / "c.cache");
  write_text(folder.path() / "c.cache", whole.substr(0, whole.size() - 3));
  EXPECT_TRUE(refusal(model + "--load-cache c.cache").starts_with("3: "));
}

TEST(Cli, InspectSaysWhatTheModelIs) {
  const TestFolder folder;
  const ProgramResult result = folder.run("inspect '" + tiny_model() + "'");
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("Qwen2ForCausalLM"), std::string::npos);
  EXPECT_NE(result.out.find("bytes per token"), std::string::npos);
}

std::string request(const std::string& more = "") {
  return R"j({"model": ")j" + tiny_model() + R"j(", "prompt_ids": [5, 6, 7, 8, 9, 10, 11, 12])j" +
         more + "}";
}

TEST(Probe, DrawsWhichRowsStayed) {
  const TestFolder folder;
  write_text(folder.path() / "r.json",
             fmt::format("[{},{}]", request(), request(R"j(, "compressor": "knorm(ratio=0.5)")j")));
  ASSERT_EQ(folder.run("probe r.json out.safetensors --heatmap kept.svg").status, 0);
  std::ifstream file(folder.path() / "kept.svg");
  const std::string svg{std::istreambuf_iterator<char>(file), {}};
  EXPECT_TRUE(svg.starts_with("<svg "));
  EXPECT_NE(svg.find(">none<"), std::string::npos);
  EXPECT_NE(svg.find(">knorm(ratio=0.5,positions=original)<"), std::string::npos);
  const ProgramResult result = folder.run("probe r.json other.safetensors --heatmap no/kept.svg");
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("no/kept.svg"), std::string::npos) << result.err;
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "other.safetensors"));
}

TEST(Probe, WritesEveryTensor) {
  const TestFolder folder;
  write_text(folder.path() / "r.json",
             fmt::format("[{},{}]", request(), request(R"j(, "compressor": "knorm(ratio=0.5)",
                 "suffix_ids": [3, 4, 5], "generate": 4, "threads": 2, "prefill_chunk": 3,
                 "scores": true)j")));
  const ProgramResult result = folder.run("probe r.json out.safetensors");
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "");
  const Safetensors file = Safetensors::open_file(folder.path() / "out.safetensors");
  EXPECT_EQ(file.floats("r0.prompt_logits"),
            file.floats("r1.prompt_logits"));  // chunks and threads never show
  EXPECT_EQ(file.int32s("r0.kept.0.0").size(), 8u);
  EXPECT_EQ(file.int32s("r1.kept.0.0").size(), 4u);
  EXPECT_EQ(file.floats("r1.scores.1.0").size(), 8u);
  EXPECT_EQ(file.find("r0.scores.0.0"), nullptr);
  EXPECT_EQ(file.get("r1.suffix_logits").shape[0], 3);
  EXPECT_EQ(file.floats("r1.suffix_nll").size(), 3u);
  EXPECT_EQ(file.int32s("r1.generated").size(), 4u);
  EXPECT_EQ(file.int32s("r0.generated").size(), 0u);
  EXPECT_LT(file.int64s("r1.kv_bytes")[0], file.int64s("r0.kv_bytes")[0]);
  EXPECT_EQ(file.bytes("r0.logits_hash").size(), 16u);
}

TEST(Probe, BadRequestsAreNamedByTheirIndexAndWriteNothing) {
  const TestFolder folder;
  const std::vector<std::pair<std::string, int>> cases = {
      {request(R"j(, "promt_ids": [1])j"), 2},
      {request(R"j(, "compressor": "snapvk(ratio=0.5)")j"), 2},
      {request(R"j(, "compressor": {"name": "knorm", "ratio": [0.25, 0.5]})j"), 2},
      {request(R"j(, "suffix_ids": [100000])j"), 2},
      {request(R"j(, "suffix_ids": [-1])j"), 2},
      {request(R"j(, "generate": -1)j"), 2},
      {request(R"j(, "kv_dtype": "f8")j"), 2},
      {request(R"j(, "threads": 0)j"), 2},
      {R"j({"model": "no-such-model", "prompt_ids": [1]})j", 3},
      {R"j({"prompt_ids": [1]})j", 2},
      {R"j({"model": ")j" + tiny_model() + R"j(", "prompt_ids": []})j", 2},
      {"7", 2},
  };
  for (const auto& [bad, status] : cases) {
    write_text(folder.path() / "r.json", fmt::format("[{},{}]", request(), bad));
    const ProgramResult result = folder.run("probe r.json out.safetensors");
    EXPECT_EQ(result.status, status) << bad << "\n" << result.err;
    EXPECT_NE(result.err.find("[1]"), std::string::npos) << bad << "\n" << result.err;
    EXPECT_FALSE(std::filesystem::exists(folder.path() / "out.safetensors")) << bad;
  }
  write_text(folder.path() / "r.json", "{");
  EXPECT_EQ(folder.run("probe r.json out.safetensors").status, 2);
  EXPECT_EQ(folder.run("probe missing.json out.safetensors").status, 3);
}

}  // namespace
}  // namespace kv
