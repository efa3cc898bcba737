// Whole sweeps on a committed model of a few kilobytes: same results however they are cut, killed
// and threaded.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "engine/error.h"
#include "runner/results.h"
#include "tests/paths.h"
#include "tests/runner/program.h"

extern char** environ;

namespace kv {
namespace {

namespace fs = std::filesystem;

const std::string kConfig = R"(
models: [MODEL]
compressors:
  - {name: knorm, ratio: 0.5}
  - snapkv(ratio=0.5,window=8)+int4
  - int8
tasks:
  - {name: perplexity, max_length: 96, samples: 3}
  - {name: passkey, lengths: [200], depths: 2, repeats: 2}
run: {threads: 1, max_new_tokens: 6, out: out}
)";

// scores, output and logits_hash of every (cell, sample).
using Outcome = std::tuple<std::map<std::string, double>, std::string, std::string, std::string>;

class Sweep : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string text = kConfig;
    text.replace(text.find("MODEL"), 5, tiny_model());
    write_text(folder_.path() / "c.yaml", text);
  }

  std::map<std::string, Outcome> outcomes(const std::string& out) const {
    std::map<std::string, Outcome> result;
    for (const SampleRecord& r : read_records(folder_.path() / out / "samples.jsonl")) {
      EXPECT_EQ(r.error, "");
      const bool is_new = result
                              .emplace(r.cell_id + "#" + r.sample_id,
                                       Outcome{r.scores, r.output, r.logits_hash, r.stop_reason})
                              .second;
      EXPECT_TRUE(is_new) << r.cell_id << " " << r.sample_id << " is recorded twice";
    }
    return result;
  }

  std::map<std::string, Outcome> run(const std::string& out, const std::string& flags) const {
    const ProgramResult result = folder_.run("run c.yaml --quiet --out " + out + " " + flags);
    EXPECT_EQ(result.status, 0) << flags << "\n" << result.err;
    return outcomes(out);
  }

  TestFolder folder_;
};

// Methods that act at every step, beside cells that share the exact prompt, and answers of several
// parts.
const std::string kStepConfig = R"(
models: [MODEL]
compressors:
  - streaming_rolling(sinks=4,window=40)
  - {name: h2o, ratio: 0.75}
  - infllm(sinks=4,window=32,block=8,topk=3,repr=2,step=24)
  - knorm(ratio=0.5)
tasks:
  - {name: perplexity, max_length: 96, samples: 2}
  - {name: long_output, data: rows.jsonl, max_new_tokens: 5, compare: true}
run: {threads: 1, out: out}
)";

const std::string kRows =
    R"({"id": "a", "context": "one two three four five six seven eight nine ten", "turns": [)"
    R"({"prompt": "A:", "answer": "x"}, {"prompt": "B:", "answer": "y"}, )"
    R"({"prompt": "C:", "answer": "z"}, {"prompt": "D:", "answer": "w"}]})";

TEST_F(Sweep, StepMethodsAndAnswersInPartsDoNotDependOnThemEither) {
  std::string text = kStepConfig;
  text.replace(text.find("MODEL"), 5, tiny_model());
  write_text(folder_.path() / "c.yaml", text);
  write_text(folder_.path() / "rows.jsonl", kRows);
  const auto expected = run("a", "");
  ASSERT_EQ(expected.size(), 5u * (2 + 1));
  for (const auto& [cell, outcome] : expected) {
    if (cell.find("long_output") == std::string::npos) continue;
    const std::string& output = std::get<1>(outcome);
    EXPECT_LT(output.find("B:"), output.find("C:")) << output;
    EXPECT_LT(output.find("C:"), output.find("D:")) << output;
  }
  EXPECT_EQ(run("b", "--threads 2 --set run.batch=1"), expected);
  EXPECT_EQ(run("c", "--set run.prefill_chunk=7 --set run.batch=3"), expected);
}

TEST_F(Sweep, ResultsDoNotDependOnThreadsBatchesChunksShardsOrInstructionSet) {
  const auto expected = run("a", "");
  ASSERT_EQ(expected.size(), 4u * (3 + 4));
  EXPECT_EQ(run("b", "--threads 2 --set run.batch=1"), expected);
  EXPECT_EQ(run("c", "--set run.prefill_chunk=7 --set run.batch=3"), expected);
  auto shards = run("d0", "--shard 0/2");
  EXPECT_LT(shards.size(), expected.size());
  shards.merge(run("d1", "--shard 1/2"));
  EXPECT_EQ(shards, expected);
  ASSERT_EQ(folder_.run("run c.yaml --quiet --out e", "KVENGINE_ISA=scalar").status, 0);
  EXPECT_EQ(outcomes("e"), expected);
  EXPECT_EQ(folder_.run("report d0 d1 --out merged").status, 0);
  ASSERT_EQ(folder_.run("report a").status, 0);
}

// finch(window=0) takes the question that query_aware moves into the context, and nothing else.
TEST_F(Sweep, TheQuestionIsWhatTheTaskMarks) {
  const std::string start = "models: [" + tiny_model() + "]\ncompressors: [finch(ratio=0.5)]\n";
  const std::string end = "run: {threads: 1, max_new_tokens: 2, out: out}\n";
  const std::string passkey = "{name: passkey, lengths: [200], depths: 1, repeats: 1";
  write_text(folder_.path() / "c.yaml", start + "tasks: [" + passkey + "}]\n" + end);
  const ProgramResult unmarked = folder_.run("run c.yaml --quiet");
  EXPECT_EQ(unmarked.status, 2);
  EXPECT_NE(unmarked.err.find("query_aware: true"), std::string::npos) << unmarked.err;
  EXPECT_FALSE(fs::exists(folder_.path() / "out/samples.jsonl"));

  write_text(folder_.path() / "c.yaml",
             start + "tasks: [" + passkey + ", query_aware: true}]\n" + end);
  const auto marked = run("a", "");
  ASSERT_EQ(marked.size(), 2u);
  int64_t full = 0, cut = 0;
  for (const SampleRecord& r : read_records(folder_.path() / "a/samples.jsonl")) {
    EXPECT_NE(r.task_spec.find("query_aware=true"), std::string::npos) << r.task_spec;
    (r.method == "finch" ? cut : full) = r.kv_bytes;
  }
  EXPECT_LT(cut, full * 6 / 10);

  write_text(folder_.path() / "c.yaml",
             start + "tasks: [{name: perplexity, max_length: 96, samples: 1}]\n" + end);
  EXPECT_EQ(folder_.run("run c.yaml --quiet").status, 2);
}

TEST_F(Sweep, ContextsAreCutToTheirFirstTokensAndQuestionsAreNot) {
  run("whole", "--task passkey --limit 2");
  run("cut", "--task passkey --limit 2 --set tasks[1].max_context_length=40");
  run("aware",
      "--task passkey --limit 2 --set tasks[1].max_context_length=40 --set "
      "tasks[1].query_aware=true");
  std::map<std::string, int64_t> context;
  for (const char* out : {"whole", "cut", "aware"}) {
    for (const SampleRecord& r : read_records(folder_.path() / out / "samples.jsonl")) {
      EXPECT_EQ(r.error, "");
      EXPECT_EQ(r.meta.count("note"), out == std::string("whole") ? 0u : 1u);
      context[out] = r.n_context;
    }
  }
  EXPECT_GT(context["whole"], 100);
  EXPECT_EQ(context["cut"], 40);
  EXPECT_GT(context["aware"], 45);  // the question, behind what is left of the context
  const ProgramResult scored =
      folder_.run("validate c.yaml --set tasks[0].max_context_length=40 --task perplexity");
  EXPECT_EQ(scored.status, 2);
  EXPECT_NE(scored.err.find("max_context_length"), std::string::npos) << scored.err;
}

TEST_F(Sweep, QuestionsAskedApartShareTheirContext) {
  write_text(
      folder_.path() / "c.yaml",
      "models: [" + tiny_model() +
          "]\ncompressors: [knorm(ratio=0.5)]\ntasks:\n  - {name: needles, kind: multiquery, "
          "ask: apart, lengths: [400], samples: 1, max_new_tokens: 2}\nrun: {threads: 1, out: "
          "out}\n");
  run("a", "");
  const std::vector<SampleRecord> records = read_records(folder_.path() / "a/samples.jsonl");
  ASSERT_EQ(records.size(), 2u * 4);
  for (const SampleRecord& r : records) EXPECT_EQ(r.scores.count("string_match"), 1u);
  const auto manifest = nlohmann::json::parse(file_text(folder_.path() / "a/manifest.json"));
  EXPECT_EQ(manifest.at("tokens_prefilled").get<int64_t>(), records.front().n_context);
  const std::string results = file_text(folder_.path() / "a/RESULTS.md");
  EXPECT_NE(results.find("### Average score"), std::string::npos);
  EXPECT_NE(results.find("figures/average_"), std::string::npos);
  EXPECT_NE(file_text(folder_.path() / "a/report.html").find("Average score"), std::string::npos);
}

TEST_F(Sweep, ContextsArePrefilledOnceForAllCells) {
  run("a", "");
  const auto manifest = nlohmann::json::parse(file_text(folder_.path() / "a/manifest.json"));
  EXPECT_EQ(manifest.at("exit_reason"), "done");
  int64_t contexts = 0, longest = 0;
  for (const SampleRecord& r : read_records(folder_.path() / "a/samples.jsonl")) {
    if (r.method != "none") continue;
    contexts += r.n_context;
    longest = std::max(longest, r.n_context);
  }
  EXPECT_EQ(manifest.at("tokens_requested").get<int64_t>(), 4 * contexts);
  // Two of the four passkeys stand late in the same text, so that their contexts begin alike.
  EXPECT_LT(manifest.at("tokens_prefilled").get<int64_t>(), contexts);
  EXPECT_GT(manifest.at("tokens_prefilled").get<int64_t>(), longest);
  const auto& phases = manifest.at("sessions").at(0).at("phases");
  EXPECT_EQ(phases.at("prefill").at("tokens"), manifest.at("tokens_prefilled"));
  for (const char* phase : {"prefill", "compress", "suffix", "decode"})
    EXPECT_GT(phases.at(phase).at("seconds").get<double>(), 0) << phase;
}

// What the program says that it needs is enough, and enough for the same results.
TEST_F(Sweep, TheLeastMemoryGivesTheSameResults) {
  const auto expected = run("a", "");
  const ProgramResult refused = folder_.run("run c.yaml --quiet --out m --set run.memory=1000");
  ASSERT_EQ(refused.status, 2);
  const std::string key = "give run.memory: ";
  const size_t at = refused.err.find(key);
  ASSERT_NE(at, std::string::npos) << refused.err;
  const size_t begin = at + key.size();
  const std::string least = refused.err.substr(begin, refused.err.find(' ', begin) - begin);
  EXPECT_EQ(run("m", "--set run.memory=" + least), expected) << least;
  const auto manifest = nlohmann::json::parse(file_text(folder_.path() / "m/manifest.json"));
  const auto& memory = manifest.at("sessions").at(0).at("memory");
  EXPECT_LE(memory.at("caches_peak_bytes").get<int64_t>(), memory.at("limit_bytes").get<int64_t>());
}

TEST_F(Sweep, ACellAloneAndCellsInAnotherOrderGiveTheSame) {
  const auto expected = run("a", "");
  int number = 0;
  for (const char* cell : {"knorm(ratio=0.5)", "int8"}) {
    const auto alone =
        run(fmt::format("alone{}", number++), fmt::format("--compressor '{}'", cell));
    ASSERT_EQ(alone.size(), 2u * (3 + 4));  // beside the full cache
    for (const auto& [key, outcome] : alone) EXPECT_EQ(outcome, expected.at(key)) << key;
  }
  EXPECT_EQ(run("b",
                "--compressor int8 --compressor 'snapkv(ratio=0.5,window=8)+int4' --compressor "
                "'knorm(ratio=0.5)' --set 'tasks=[{name: passkey, lengths: [200], depths: 2, "
                "repeats: 2}, {name: perplexity, max_length: 96, samples: 3}]'"),
            expected);
  auto shards = run("s0", "--shard 0/3");
  shards.merge(run("s1", "--shard 1/3 --threads 2"));
  shards.merge(run("s2", "--shard 2/3"));
  EXPECT_EQ(shards, expected);
}

TEST_F(Sweep, AResumedRunPrefillsNothingAndAddsNothing) {
  const auto expected = run("a", "");
  const std::string before = file_text(folder_.path() / "a/samples.jsonl");
  run("a", "");
  EXPECT_EQ(file_text(folder_.path() / "a/samples.jsonl"), before);
  const auto manifest = nlohmann::json::parse(file_text(folder_.path() / "a/manifest.json"));
  EXPECT_EQ(manifest.at("sessions").at(1).at("tokens_prefilled"), 0);
  // A line cut by a kill is redone, wherever it was cut; nothing else is.
  for (size_t lost : {size_t{1}, size_t{300}, before.size() / 2}) {
    write_text(folder_.path() / "a/samples.jsonl", before.substr(0, before.size() - lost));
    EXPECT_EQ(run("a", ""), expected) << lost;
  }
  const auto fresh = run("a", "--fresh");
  EXPECT_EQ(fresh, expected);
}

TEST_F(Sweep, AnotherTokenLimitIsAnotherExperiment) {
  const size_t n = run("a", "").size();
  EXPECT_EQ(folder_.run("run c.yaml --quiet --out a --max-new-tokens 2").status, 0);
  EXPECT_EQ(read_records(folder_.path() / "a/samples.jsonl").size(), 2 * n);
}

// Starts a sweep and ends it by `signal` once samples.jsonl has grown beyond `bytes`. The exit
// status.
int run_until(const std::vector<std::string>& arguments, const fs::path& samples, uintmax_t bytes,
              int signal) {
  std::vector<std::string> words = {build_dir().string() + "/kvengine"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  if (posix_spawn(&child, argv[0], nullptr, nullptr, argv.data(), environ) != 0) return -1;
  int status = 0;
  std::error_code ignored;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (fs::exists(samples, ignored) && fs::file_size(samples, ignored) > bytes) {
      kill(child, signal);
      waitpid(child, &status, 0);
      break;
    }
    usleep(200);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST_F(Sweep, AKilledRunEndsWithTheSameScores) {
  const std::string longer = "--set tasks[0].max_length=480 --set tasks[0].samples=20";
  const auto expected = run("a", longer);
  const fs::path out = folder_.path() / "k";
  const std::vector<std::string> arguments = {"run",
                                              (folder_.path() / "c.yaml").string(),
                                              "--quiet",
                                              "--out",
                                              out.string(),
                                              "--set",
                                              "tasks[0].max_length=480",
                                              "--set",
                                              "tasks[0].samples=20"};
  EXPECT_EQ(run_until(arguments, out / "samples.jsonl", 0, SIGKILL), 128 + SIGKILL);
  const size_t after_kill = read_records(out / "samples.jsonl").size();
  EXPECT_LT(after_kill, expected.size());
  const uintmax_t bytes = fs::file_size(out / "samples.jsonl");
  EXPECT_EQ(run_until(arguments, out / "samples.jsonl", bytes, SIGTERM), 130);
  EXPECT_EQ(nlohmann::json::parse(file_text(out / "manifest.json")).at("exit_reason"),
            "interrupted");
  EXPECT_LT(read_records(out / "samples.jsonl").size(), expected.size());
  EXPECT_EQ(run("k", longer), expected);
}

TEST_F(Sweep, ScoresAgainstTheFullCache) {
  run("a", "");
  for (const SampleRecord& r : read_records(folder_.path() / "a/samples.jsonl")) {
    EXPECT_GT(r.kv_bytes, 0);
    EXPECT_GE(r.kv_bytes_peak, r.kv_bytes);
    EXPECT_FALSE(r.prefill_ms.has_value());
    if (r.task != "perplexity") continue;
    EXPECT_EQ(r.n_context, 48);
    EXPECT_EQ(r.n_tokens, 48);
    if (r.method == "none") {
      EXPECT_EQ(r.scores.at("kld"), 0);
      EXPECT_EQ(r.scores.at("top1_agreement"), 1);
      EXPECT_DOUBLE_EQ(r.kv_retained(), 1);
    } else {
      EXPECT_GT(r.scores.at("kld"), 0) << r.spec;
      EXPECT_LT(r.kv_retained(), 1);
    }
  }
}

// By compressor and sample: with `compare` the task, and so the cell, has another name.
std::map<std::string, SampleRecord> by_method(const fs::path& folder) {
  std::map<std::string, SampleRecord> result;
  for (const SampleRecord& r : read_records(folder / "samples.jsonl")) {
    result[r.method + "#" + r.sample_id] = r;
  }
  return result;
}

TEST_F(Sweep, ComparedAnswersStayTheSameAnswers) {
  const std::string compare = "--task passkey --set tasks[1].compare=true ";
  run("plain", "--task passkey");
  const auto expected = run("a", compare);
  const auto plain = by_method(folder_.path() / "plain"),
             compared = by_method(folder_.path() / "a");
  ASSERT_EQ(plain.size(), 4u * 4);
  ASSERT_EQ(compared.size(), plain.size());
  for (const auto& [key, before] : plain) {
    SampleRecord r = compared.at(key);
    EXPECT_EQ(r.output, before.output) << key;
    EXPECT_EQ(r.output_ids, before.output_ids) << key;
    EXPECT_EQ(static_cast<int64_t>(r.output_ids.size()), r.n_tokens) << key;
    EXPECT_EQ(r.logits_hash, before.logits_hash) << key;
    EXPECT_EQ(r.kv_bytes_peak, before.kv_bytes_peak) << key;
    ASSERT_EQ(r.scores.count("kld"), 1u) << key;
    EXPECT_EQ(r.scores["kld"] > 0, r.method != "none") << key;
    EXPECT_LE(r.scores["top1_agreement"], 1) << key;
    r.scores.erase("kld");
    r.scores.erase("top1_agreement");
    EXPECT_EQ(r.scores, before.scores) << key;
  }
  EXPECT_EQ(run("b", compare + "--threads 2 --set run.batch=1 --set run.prefill_chunk=9"),
            expected);
  auto shards = run("d0", compare + "--shard 0/2");
  shards.merge(run("d1", compare + "--shard 1/2"));
  EXPECT_EQ(shards, expected);
  // Cut after the full cache's records, and amid the others: its answer is made once more.
  const std::string all = file_text(folder_.path() / "a/samples.jsonl");
  for (const size_t kept : {all.size() / 3, all.size() / 2, all.size() - 1}) {
    write_text(folder_.path() / "a/samples.jsonl", all.substr(0, kept));
    EXPECT_EQ(run("a", compare), expected) << kept;
  }
}

// One sample of each cell says which rows stayed, whatever the order of the work.
TEST_F(Sweep, TheFirstSampleOfACellSaysWhichRowsStayed) {
  run("a", "");
  int n_kept = 0;
  for (const SampleRecord& r : read_records(folder_.path() / "a/samples.jsonl")) {
    const bool evicts = r.compression_ratio > 0;
    const bool first = r.sample_id == (r.task == "passkey" ? "len200-depth0-0" : "ppl0");
    EXPECT_EQ(r.kept.has_value(), evicts && first) << r.cell_id << " " << r.sample_id;
    if (!r.kept) continue;
    ++n_kept;
    for (const auto& layer : r.kept->rows) {
      for (const int64_t rows : layer) EXPECT_EQ(rows, r.n_context - r.n_context / 2);
    }
  }
  EXPECT_EQ(n_kept, 2 * 2);
  const std::string html = file_text(folder_.path() / "a/report.html");
  EXPECT_NE(html.find("Which rows stayed"), std::string::npos);
  EXPECT_NE(html.find("By depth and length"), std::string::npos);
  EXPECT_TRUE(fs::exists(folder_.path() / "a/figures"));
}

// The longest prompts that passkey is asked for, on a model of a few kilobytes.
TEST_F(Sweep, PasskeysInEightThousandTokens) {
  const auto results = run("a",
                           "--task passkey --set tasks[1].lengths=[4096,8192] --set "
                           "tasks[1].repeats=1 --threads 2 --max-new-tokens 4");
  ASSERT_EQ(results.size(), 4u * 2 * 2);
  for (const SampleRecord& r : read_records(folder_.path() / "a/samples.jsonl")) {
    const int64_t length = std::stoll(r.meta.at("length"));
    EXPECT_LE(r.n_context, length);
    EXPECT_GT(r.n_context, length - 64);  // the question takes the rest
    EXPECT_EQ(r.meta.count("note"), 1u) << "beyond the positions that the model names";
  }
}

TEST_F(Sweep, TimingFillsTheTimes) {
  run("a", "--set run.timing=true --limit 1 --task perplexity");
  for (const SampleRecord& r : read_records(folder_.path() / "a/samples.jsonl")) {
    EXPECT_GT(r.prefill_ms.value(), 0);
    EXPECT_GT(r.decode_ms.value(), 0);
    EXPECT_EQ(r.timing_spread.count("ttft_ms"), 1u);
  }
}

TEST_F(Sweep, TimingOfOneTaskAndTheFirstSamples) {
  run("a",
      "--set 'run.timing={tasks: [passkey], samples: 1, warmup: 0, repetitions: 2}' --limit 2");
  size_t timed = 0;
  std::set<std::string> samples;
  for (const SampleRecord& r : read_records(folder_.path() / "a/samples.jsonl")) {
    EXPECT_EQ(r.ttft_ms.has_value(), r.tpot_ms.has_value());
    if (!r.ttft_ms) continue;
    EXPECT_EQ(r.task, "passkey");
    samples.insert(r.sample_id);
    ++timed;
  }
  EXPECT_EQ(timed, 4u);  // one for each compressor
  EXPECT_EQ(samples.size(), 1u);
  const ProgramResult wrong = folder_.run("validate c.yaml --set run.timing.tasks=[paskey]");
  EXPECT_EQ(wrong.status, 2);
  EXPECT_NE(wrong.err.find("did you mean 'passkey'"), std::string::npos) << wrong.err;
  EXPECT_NE(folder_.run("validate c.yaml --set run.timing.warm=1").err.find("warmup"),
            std::string::npos);
}

TEST_F(Sweep, DryRunAndValidateRunNothing) {
  const ProgramResult dry = folder_.run("run c.yaml --dry-run");
  EXPECT_EQ(dry.status, 0) << dry.err;
  EXPECT_NE(dry.out.find("   8 "), std::string::npos) << dry.out;
  EXPECT_NE(dry.out.find("tokens/s"), std::string::npos);
  const ProgramResult valid = folder_.run("validate c.yaml");
  EXPECT_EQ(valid.status, 0) << valid.err;
  EXPECT_NE(valid.out.find("8 cells"), std::string::npos) << valid.out;
  EXPECT_FALSE(fs::exists(folder_.path() / "out"));
}

TEST_F(Sweep, TooLittleMemoryIsFoundBeforeTheWork) {
  const ProgramResult result = folder_.run("run c.yaml --set run.memory=1000");
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("run.memory"), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(folder_.path() / "out"));
}

}  // namespace
}  // namespace kv
