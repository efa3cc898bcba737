// longctx_bench: its JSON files as a config, and our records as its result folders.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/mapped_file.h"
#include "runner/config.h"
#include "runner/longctx_config.h"
#include "runner/report_longctx.h"
#include "runner/value_io.h"
#include "tasks/longbench_sets.h"
#include "tasks/passkey_text.h"
#include "tests/error_of.h"
#include "tests/paths.h"
#include "tests/runner/program.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

const fs::path kReference = source_dir() / ".." / "shared" / "data" / "longctx_bench";
constexpr const char* kNoReference = "the reference files are not beside the source folder";

Json pipeline(const std::string& method, const Json& more) {
  Json params = {{"method", method},
                 {"model_name", "m"},
                 {"tokenizer_name", "m"},
                 {"chat_template", "llama3"},
                 {"model_max_len", 100},
                 {"use_flash_attn", true},
                 {"truncation_mode", "middle"},
                 {"batch_size", 1},
                 {"out_of_max_len_allowed", true},
                 {"rope_theta_factor", 1.0}};
  if (!more.is_null()) params.update(more);
  return {{"pipeline_params", params}};
}

Json rolling(const std::string& method, const Json& more) {
  Json params = {{"fattn", true},         {"truncation_mode", nullptr}, {"base", 10000},
                 {"distance_scale", 1.0}, {"chunk_size", 8192},         {"compression_ratio", 0.25},
                 {"init_ratio", 0.021},   {"local_ratio", 0.9}};
  if (!more.is_null()) params.update(more);
  return pipeline(method, params);
}

Json infllm(const Json& more) {
  Json params = {{"context_ratio", 0.324}, {"block_size", 128},     {"repr_topk", 4}, {"topk", 16},
                 {"exc_block_size", 512},  {"max_cached_block", 32}};
  if (!more.is_null()) params.update(more);
  return rolling("inf-llm", params);
}

Json quantized(const std::string& method, int bits, int residual) {
  Json params = {
      {"k_bits", bits}, {"v_bits", bits}, {"group_size", 32}, {"residual_length", residual}};
  if (method == "FlexGen") params.update({{"k_quant_dim", "token"}, {"v_quant_dim", "token"}});
  return pipeline(method, params);
}

LongctxPipeline read(const Json& json) {
  return read_longctx_pipeline(parse_json(json.dump(), "p.json"));
}

std::string refusal(const Json& json) {
  return error_of([&] { read(json); });
}

TEST(Longctx, PipelinesAreOurMethods) {
  EXPECT_EQ(read(pipeline("baseline", {})).spec, "none");
  EXPECT_EQ(read(pipeline("h2o_icl", {{"heavy_ratio", 0.083}, {"recent_ratio", 0.083}})).spec,
            "h2o(heavy=0.083,recent=0.083,prefill_scores=false)");
  EXPECT_EQ(read(quantized("KIVI", 2, 128)).spec, "kivi2(group=32,residual=128)");
  EXPECT_EQ(read(quantized("FlexGen", 4, 0)).spec, "flexgen4(group=32)");
  EXPECT_EQ(read(rolling("stream-llm", {{"compression_ratio", 0.17}})).spec,
            "streaming_rolling(ratio=0.83)");
  EXPECT_EQ(read(infllm({})).spec, "infllm(ratio=0.75,block=128,repr=4,step=512)");
}

TEST(Longctx, PipelinesSayHowPromptsAreMade) {
  const LongctxPipeline cut = read(pipeline("baseline", {{"rope_theta_factor", 32.0}}));
  EXPECT_EQ(cut.model, "m(rope_theta_factor=32)");
  EXPECT_EQ(cut.prompts.chat, true);
  EXPECT_TRUE(cut.prompts.cuts_middle);
  EXPECT_EQ(cut.prompts.max_length, 100);
  const LongctxPipeline whole = read(infllm({{"chat_template", nullptr}}));
  EXPECT_EQ(whole.prompts.chat, false);
  EXPECT_FALSE(whole.prompts.cuts_middle);
  EXPECT_EQ(whole.rope_base, 10000);
}

TEST(Longctx, WhatIsNotHereIsRefusedWithItsReason) {
  const auto has = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
  };
  has(refusal(pipeline("llmlingua", {{"cp_rate", 4}})), "second model");
  has(refusal(pipeline("baseline", {{"model_name", "state-spaces/mamba-2.8b-hf"}})),
      "recurrent state");
  has(refusal(pipeline("magic", {})), "unknown method 'magic'");
  has(refusal(rolling("stream-llm", {{"compression_ratio", nullptr}})), "full model's answers");
  has(refusal(quantized("KIVI", 3, 128)), "expected 2 or 4 bits");
  has(refusal(quantized("FlexGen", 4, 128)), "residual_length");
  has(refusal(infllm({{"context_ratio", 0.5}})), "0.324");
  has(refusal(pipeline("baseline", {{"temperature", 1}})), "p.json: pipeline_params.temperature");
  has(refusal(pipeline("baseline", {{"tokenizer_name", "n"}})), "tokenizer_name");
  has(refusal(Json{{"eval_params", 1}}), "'pipeline_params'");
}

TEST(Longctx, ReferencePipelines) {
  const fs::path folder = kReference / "pipeline_config";
  if (!fs::exists(folder)) GTEST_SKIP() << kNoReference;
  std::map<std::string, int> accepted, refused;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    const Value file = parse_json(read_whole_file(entry.path()), entry.path().string());
    const std::string method = file.find("pipeline_params")->find("method")->text;
    const std::string error = error_of([&] { read_longctx_pipeline(file); });
    ++(error.empty() ? accepted : refused)[method];
  }
  const std::map<std::string, int> expected = {
      {"baseline", 7},    {"h2o_longbench", 12}, {"h2o_icl", 12}, {"inf-llm", 36},
      {"stream-llm", 34}, {"KIVI", 12},          {"FlexGen", 6}};
  EXPECT_EQ(accepted, expected);
  // LLMLingua2; recurrent models; two files that lack compression_ratio.
  const std::map<std::string, int> reasons = {
      {"llmlingua", 24}, {"baseline", 9}, {"stream-llm", 2}};
  EXPECT_EQ(refused, reasons);
}

std::string canonical_task(const Value& value) {
  return make_task(value, source_dir().string())->canonical();
}

TEST(Longctx, ReferenceEvaluations) {
  const fs::path folder = kReference / "eval_config";
  if (!fs::exists(folder)) GTEST_SKIP() << kNoReference;
  const LongctxPrompts prompts{true, true, 7500};
  int n_read = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    const Value file = parse_json(read_whole_file(entry.path()), entry.path().string());
    const std::string task = canonical_task(
        read_longctx_eval(file, &prompts, "tasks/data/longbench", "tasks/data/prose"));
    EXPECT_NE(task.find("query_aware=true"), std::string::npos) << task;
    const std::string name = entry.path().stem().string();
    if (const LongBenchSet* set = find_longbench_set(name)) {
      // Prompt and answer length are the set's own, so that the task does not repeat them.
      EXPECT_EQ(task, fmt::format("longbench(dataset={},data=tasks/data/longbench,chat=true,"
                                  "truncate=middle,max_length=7500,query_aware=true)",
                                  set->name));
    } else if (name.find("10x10x3") != std::string::npos) {
      EXPECT_NE(
          task.find("lengths=[512,2730,4949,7168,9386,11605,13824,16042,18261,20480],depths=10,"
                    "repeats=3"),
          std::string::npos)
          << task;
      EXPECT_NE(task.find(name.find("64") == std::string::npos ? "digits=7," : "digits=64,"),
                std::string::npos);
    } else {
      EXPECT_NE(task.find("lengths=[20480],depths=2,repeats=1,digits=7"), std::string::npos)
          << task;
    }
    ++n_read;
  }
  EXPECT_EQ(n_read, 19);
}

Json qasper_eval() {
  return {{"eval_params",
           {{"dataset", "qasper"},
            {"dataset_path", "rows"},
            {"instruction", "{context} {input}"},
            {"instruction_position", "prefix"},
            {"max_new_tokens", 5},
            {"eval_metrics", {"qa_f1_score"}}}}};
}

// A config that names files of a folder of its own.
class LongctxFolder : public TestFolder {
 public:
  LongctxFolder() {
    fs::create_directories(path() / "p");
    fs::create_directories(path() / "rows");
    fs::copy(source_dir() / "tasks/data/longbench/qasper.jsonl", path() / "rows");
    write("e.json", qasper_eval());
    write("p/1.json", pipeline("baseline", {}));
    write("p/2.json", pipeline("h2o_longbench", {{"heavy_ratio", 0.25}, {"recent_ratio", 0.25}}));
  }
  void write(const std::string& name, const Json& json) { write_text(path() / name, json.dump()); }
  RunConfig config(const std::string& more = "") const {
    RunFlags flags;
    flags.models = {tiny_model()};
    return parse_config("longctx_bench: {pipeline_config: p, eval_config: e.json" + more + "}\n",
                        path() / "c.yaml", flags);
  }
};

TEST(Longctx, AConfigTakesItsFiles) {
  LongctxFolder folder;
  const RunConfig config = folder.config();
  ASSERT_EQ(config.compressors.size(), 2u);
  EXPECT_EQ(config.compressors[1].canonical, "h2o(heavy=0.25,recent=0.25,prefill_scores=false)");
  ASSERT_EQ(config.tasks.size(), 1u);
  EXPECT_EQ(config.tasks[0].task->canonical(),
            "longbench(dataset=qasper,data=rows,prompt='{context} {input}',chat=true,"
            "truncate=middle,max_length=100,max_new_tokens=5,query_aware=true)");
  EXPECT_NE(folder.config(", max_length: 50").tasks[0].task->canonical().find("max_length=50"),
            std::string::npos);
}

TEST(Longctx, PipelinesOfOneRunMustAgree) {
  LongctxFolder folder;
  folder.write("p/3.json", pipeline("baseline", {{"model_name", "n"}, {"tokenizer_name", "n"}}));
  EXPECT_NE(error_of([&] { folder.config(); }).find("its model is n"), std::string::npos);
  folder.write("p/3.json", infllm({}));
  EXPECT_NE(error_of([&] { folder.config(); }).find("other prompts"), std::string::npos);
  EXPECT_EQ(folder.config(", max_length: 50").compressors.size(), 3u);
}

TEST(Longctx, ModelsMayHaveAnotherRopeTheta) {
  const fs::path file = source_dir() / "tests/data/x.yaml";
  const RunConfig config = parse_config(
      "models: [tiny-qwen2, 'tiny-qwen2(rope_theta_factor=32)']\ntasks: [perplexity]\n", file, {});
  EXPECT_EQ(config.models[0].rope_theta_factor, 1);
  EXPECT_EQ(config.models[1].rope_theta_factor, 32);
  EXPECT_EQ(config.models[1].location, config.models[0].location);
  EXPECT_NE(error_of([&] {
              parse_config("models: ['tiny-qwen2(rope_theta_factor=x)']\ntasks: [perplexity]\n",
                           file, {});
            }).find("above 0"),
            std::string::npos);
}

SampleRecord passkey_record(const std::string& length, const std::string& depth, int repeat,
                            double exact, double partial) {
  SampleRecord record;
  record.model = "m";
  record.method = "none";
  record.spec = "none";
  record.task = "passkey";
  record.task_spec = "passkey(lengths=[10,20],depths=2,repeats=1,digits=7,seed=42,unit=words)";
  record.cell_id = "m/passkey/none";
  record.fingerprint = "f";
  record.sample_id = fmt::format("len{}-depth{}-{}", length, depth, repeat);
  record.meta = {{"length", length}, {"depth", depth}, {"key", "1234567"}};
  record.scores = {{"exact_match", exact}, {"partial_match", partial}};
  record.output = "answer";
  return record;
}

TEST(Longctx, ReferenceAggregationOfPasskeys) {
  const fs::path file = kReference / "golden_passkey_processed.json";
  if (!fs::exists(file)) GTEST_SKIP() << kNoReference;
  const Json golden = Json::parse(read_whole_file(file))["processed_results"];
  std::vector<SampleRecord> records;
  for (const auto& [length, depths] : golden.items()) {
    if (length == "overall_results" || length == "background_len_wise_results") continue;
    for (const auto& [depth, value] : depths.items()) {
      for (int repeat = 2; repeat >= 0; --repeat) {  // records come in any order
        const bool found = std::stod(depth) < 0.3 || repeat == 0;
        records.push_back(passkey_record(length, depth, repeat, found, found ? 1 : 4.0 / 7));
      }
    }
  }
  ASSERT_EQ(records.size(), 300u);
  std::swap(records[3], records[290]);
  const Json ours = longctx_passkey_results(records);
  ASSERT_EQ(ours.size(), golden.size());
  const auto near = [](const Json& a, const Json& b) {
    EXPECT_EQ(a.size(), 2u);
    for (const char* metric : {"exact_match", "partial_match"})
      EXPECT_NEAR(a.at(metric).get<double>(), b.at(metric).get<double>(), 1e-12);
  };
  for (const auto& [length, depths] : golden.items()) {
    if (length == "overall_results") {
      near(ours.at(length), depths);
      continue;
    }
    ASSERT_EQ(ours.at(length).size(), depths.size());
    for (const auto& [depth, value] : depths.items()) near(ours.at(length).at(depth), value);
  }
}

TEST(Longctx, SummaryNeedsEverySetOfAMean) {
  std::map<std::string, double> scores = {{"trec", 10},
                                          {"triviaqa", 20},
                                          {"samsum", 31},
                                          {"passage_retrieval_en", 7},
                                          {"passage_count", 99}};
  const Json summary = longctx_summary(scores);
  EXPECT_EQ(summary["individual_dataset_result"]["passage_count"], 99);
  EXPECT_EQ(summary["task_average_result"]["few_shots"], 20.33);
  EXPECT_EQ(summary["task_average_result"]["synthetic"], 7);
  EXPECT_TRUE(summary["task_average_result"]["code"].is_null());
  EXPECT_TRUE(summary["LB_average_result"].is_null());
  for (const LongBenchSet& set : longbench_sets()) scores[set.name] = 50;
  scores["passage_count"] = 0;
  EXPECT_EQ(longctx_summary(scores)["LB_average_result"], 50);
}

TEST(Longctx, RatesAreNamedAsThere) {
  EXPECT_EQ(longctx_rate(0.5), "2x");
  EXPECT_EQ(longctx_rate(0.166), "6x");
  EXPECT_EQ(longctx_rate(0.17), "6x");
  EXPECT_EQ(longctx_rate(0.4), "2.50x");
}

Json read_json(const fs::path& file) {
  return Json::parse(read_whole_file(file));
}

TEST(Longctx, PasskeyFolderHasItsLayout) {
  TestFolder folder;
  std::vector<SampleRecord> records;
  for (const char* length : {"20", "10"}) {
    for (const char* depth : {"1", "0"}) records.push_back(passkey_record(length, depth, 0, 1, 1));
  }
  ManifestInfo manifest;
  manifest.started = "2026-01-02T03:04:05Z";
  manifest.finished = "2026-01-02T04:05:06Z";
  export_longctx_bench(records, manifest, folder.path());
  const fs::path cell = folder.path() / "paulgraham_passkey/20words_2x2x1_7digits/baseline/m";
  for (const char* file :
       {"exp.log", "input_config/input_pipeline_config.json", "input_config/input_eval_config.json",
        "output_config.json", "raw_results.json", "result_vis.png"}) {
    EXPECT_TRUE(fs::exists(cell / file)) << file;
  }
  const Json output = read_json(cell / "output_config.json");
  EXPECT_EQ(output["pipeline_params"]["method"], "baseline");
  EXPECT_EQ(output["eval_params"]["n_background_lens"], 2);
  EXPECT_EQ(output["eval_results"]["processed_results"]["overall_results"]["exact_match"], 1);
  EXPECT_EQ(output["management"]["exp_duration"], "1:01:01");
  const Json raw = read_json(cell / "raw_results.json");
  EXPECT_EQ(raw.dump(), R"({"10":{"0":{"answers":["1234567"],"responses":["answer"]},)"
                        R"("1":{"answers":["1234567"],"responses":["answer"]}},)"
                        R"("20":{"0":{"answers":["1234567"],"responses":["answer"]},)"
                        R"("1":{"answers":["1234567"],"responses":["answer"]}}})");
}

// The whole way: their files, a run, their folders, and these as files again.
TEST(Longctx, ARunBecomesItsFoldersAndTheseAConfig) {
  LongctxFolder folder;
  folder.write("p/1.json", pipeline("baseline", {{"chat_template", nullptr}}));
  folder.write("p/2.json", quantized("FlexGen", 4, 0));
  Json flexgen = quantized("FlexGen", 4, 0);
  flexgen["pipeline_params"]["chat_template"] = nullptr;
  flexgen["pipeline_params"]["group_size"] = 12;
  folder.write("p/2.json", flexgen);
  write_text(folder.path() / "c.yaml",
             "models: [" + tiny_model() +
                 "]\nlongctx_bench: {pipeline_config: p, eval_config: e.json}\nrun: {out: r}\n");
  const ProgramResult run = folder.run("run c.yaml --quiet");
  ASSERT_EQ(run.status, 0) << run.err;
  ASSERT_EQ(folder.run("report r --format longctx-bench --out l").status, 0);
  const fs::path model = folder.path() / "l/longbench/flexgen/4bit/tiny-qwen2",
                 cell = model / "qasper";
  const Json output = read_json(cell / "output_config.json");
  EXPECT_EQ(output["pipeline_params"]["k_bits"], 4);
  EXPECT_EQ(output["pipeline_params"]["group_size"], 12);
  EXPECT_EQ(output["eval_params"]["instruction"], "{context} {input}");
  const double score = output["eval_results"]["processed_results"]["qa_f1_score"];
  const Json raw = read_json(cell / "raw_results.json");
  ASSERT_EQ(raw.size(), 1u);
  EXPECT_NEAR(100 * raw[0]["score"].get<double>(), score, 0.005);
  EXPECT_TRUE(raw[0]["answers"].is_string());
  EXPECT_EQ(read_json(cell / "pred/FlexGen/result.json")["qasper"], score);
  const Json line = Json::parse(read_whole_file(cell / "pred/FlexGen/qasper_None.jsonl"));
  EXPECT_EQ(line["answers"], Json({"Port Ansel"}));
  EXPECT_EQ(
      read_json(model / "longbench_result_summary.json")["individual_dataset_result"]["qasper"],
      score);

  const std::string input = "l/longbench/flexgen/4bit/tiny-qwen2/qasper/input_config/";
  write_text(folder.path() / "again.yaml", "models: [" + tiny_model() +
                                               "]\nlongctx_bench: {pipeline_config: " + input +
                                               "input_pipeline_config.json, eval_config: " + input +
                                               "input_eval_config.json}\nrun: {out: r}\n");
  const ProgramResult again = folder.run("run again.yaml --dry-run");
  ASSERT_EQ(again.status, 0) << again.err;
  // The same cells: everything is done already.
  EXPECT_EQ(again.out.find(" 0/1 "), std::string::npos) << again.out;
}

}  // namespace
}  // namespace kv
