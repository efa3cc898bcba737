// Fingerprints change with everything that can change an output, and with nothing else.
#include "runner/cells.h"

#include <gtest/gtest.h>

#include <functional>

#include "runner/prepare.h"
#include "tests/paths.h"

namespace kv {
namespace {

const std::filesystem::path kFile = source_dir() / "tests/data/x.yaml";

struct Inputs {
  ModelIdentity model;
  std::string compressor = "knorm(ratio=0.5)";
  std::string task = "{name: perplexity, max_length: 64}";
  RunOptions run;

  std::string fingerprint() const {
    const RunConfig config = parse_config(
        "models: [tiny-qwen2]\ntasks: [" + task + "]\ncompressors: [\"" + compressor + "\"]\n",
        kFile, {});
    return cell_fingerprint(model, config.compressors.back(), *config.tasks[0].task, run);
  }
};

Inputs base() {
  Inputs setup;
  setup.model.name = "tiny";
  setup.model.weights_hash = "w one";
  setup.model.tokenizer_hash = "t one";
  setup.model.template_hash = "c one";
  setup.run.kv_dtype = "f16";
  setup.run.weights = "stored";
  setup.run.gemm = "native";
  setup.run.max_new_tokens = 8;
  return setup;
}

TEST(Fingerprint, ChangesWithWhatChangesOutputs) {
  const std::string before = base().fingerprint();
  const std::vector<std::pair<const char*, std::function<void(Inputs&)>>> changes = {
      {"weights", [](Inputs& s) { s.model.weights_hash = "w2"; }},
      {"tokenizer", [](Inputs& s) { s.model.tokenizer_hash = "t2"; }},
      {"template", [](Inputs& s) { s.model.template_hash = "c2"; }},
      {"eos",
       [](Inputs& s) {
         s.model.config.eos_ids = {1, 2};
       }},
      {"rope", [](Inputs& s) { s.model.config.rope.theta = 5; }},
      {"spec", [](Inputs& s) { s.compressor = "knorm(ratio=0.25)"; }},
      {"task", [](Inputs& s) { s.task = "{name: perplexity, max_length: 32}"; }},
      {"kv_dtype", [](Inputs& s) { s.run.kv_dtype = "f32"; }},
      {"weights dtype", [](Inputs& s) { s.run.weights = "bf16"; }},
      {"gemm", [](Inputs& s) { s.run.gemm = "openblas"; }},
      {"max_new_tokens", [](Inputs& s) { s.run.max_new_tokens = 9; }},
      {"seed", [](Inputs& s) { s.run.seed = 1; }},
  };
  for (const auto& [name, change] : changes) {
    Inputs setup = base();
    change(setup);
    EXPECT_NE(setup.fingerprint(), before) << name;
  }
}

TEST(Fingerprint, StaysWithWhatDoesNot) {
  const std::string before = base().fingerprint();
  EXPECT_EQ(before.size(), 32u);
  Inputs setup = base();
  setup.model.name = "another name";
  setup.run.threads = 7;
  setup.run.batch = 3;
  setup.run.prefill_chunk = 5;
  setup.run.memory_bytes = 1 << 30;
  setup.run.timing.on = true;
  setup.run.out = "elsewhere";
  setup.compressor = "knorm( ratio = 0.50 )";
  EXPECT_EQ(setup.fingerprint(), before);
}

TEST(Units, ShareContextsAcrossQuestionsTasksAndShards) {
  const auto sample = [](std::string id, std::vector<int32_t> context) {
    Sample s;
    s.id = std::move(id);
    s.context_ids = std::move(context);
    return s;
  };
  const std::vector<std::vector<Sample>> samples = {
      {sample("a", {1, 2}), sample("b", {3}), sample("c", {1, 2})},
      {sample("d", {3}), sample("e", {4})}};
  const std::vector<Unit> all = make_units(samples, {0, 1});
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].questions.size(), 2u);
  EXPECT_EQ(all[1].questions.size(), 2u);
  size_t questions = 0;
  for (int i = 0; i < 2; ++i) {
    for (const Unit& unit : make_units(samples, {i, 2})) questions += unit.questions.size();
  }
  EXPECT_EQ(questions, 5u);
}

}  // namespace
}  // namespace kv
