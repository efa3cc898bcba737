// Efficient-LLM's tables from records with known times.
#include "runner/report_efficient_llm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/error.h"
#include "tests/runner/program.h"
#include "tests/runner/sample_record.h"

namespace kv {
namespace {

constexpr const char* kText =
    "perplexity(data='data/wiki.test.raw',join=eos,max_length=1024,prefix_ratio=0.5,min_chars=0)";
constexpr const char* kTimed =
    "continuation(data='data/wiki.test.raw',context=1024,question=0,max_new_tokens=32,samples=1)";

SampleRecord record(const std::string& task_spec, const std::string& spec, double ratio) {
  SampleRecord r = sample_record(task_spec, spec, ratio);
  r.model = "org/tiny";
  return r;
}

void add(std::vector<SampleRecord>& records, const std::string& spec, double ratio, double ppl,
         double factor) {
  SampleRecord text = record(kText, spec, ratio);
  text.scores = {{"ppl", ppl}, {"nll", std::log(ppl)}, {"tokens", 512}};
  text.stop_reason = "scored";
  records.push_back(text);
  SampleRecord timed = record(kTimed, spec, ratio);
  timed.scores = {{"token_match", 0.5}};
  timed.n_context = 1024;
  timed.n_tokens = 32;
  timed.prefill_ms = 1900 * factor;
  timed.compress_ms = 100 * factor;
  timed.ttft_ms = 2100 * factor;
  timed.tpot_ms = 20 * factor;
  timed.decode_ms = 720 * factor;
  records.push_back(timed);
}

std::vector<SampleRecord> some_records() {
  std::vector<SampleRecord> records;
  add(records, "none", 0, 20, 1);
  add(records, "knorm(ratio=0.5)", 0.5, 24, 0.5);
  add(records, "knorm(ratio=0.7)", 0.7, 30, 0.25);
  return records;
}

TEST(EfficientLlm, FieldsFollowFromTheRecords) {
  const auto rows = efficient_rows(some_records(), ManifestInfo{});
  ASSERT_EQ(rows.size(), 3u);
  const EfficientRow &full = rows[0], &half = rows[1];
  EXPECT_EQ(full.method, "baseline");
  EXPECT_EQ(full.dataset, "wikitext");
  EXPECT_EQ(full.ppl_delta, 0);
  EXPECT_EQ(full.tpot_speedup, 1);
  EXPECT_EQ(half.method, "knorm");
  EXPECT_NEAR(half.ppl_delta, 4, 1e-9);
  EXPECT_DOUBLE_EQ(half.prefill_time, 1.0);  // prefill and compression, seconds
  EXPECT_DOUBLE_EQ(half.ttft, 1.05);
  EXPECT_DOUBLE_EQ(half.tpot, 0.01);
  EXPECT_DOUBLE_EQ(half.decode_time, 0.31);
  EXPECT_DOUBLE_EQ(half.total_generation_time, 1.36);
  EXPECT_DOUBLE_EQ(half.throughput, 32 / 1.36);
  EXPECT_EQ(half.generation_prompt_tokens, 1024);
  EXPECT_EQ(half.generation_output_tokens, 32);
  EXPECT_EQ(half.generation_total_tokens, 1056);
  EXPECT_DOUBLE_EQ(half.prefill_speedup, 2);
  EXPECT_DOUBLE_EQ(half.ttft_speedup, 2);
  EXPECT_DOUBLE_EQ(half.tpot_speedup, 2);
  EXPECT_DOUBLE_EQ(half.throughput_ratio, 2);
}

TEST(EfficientLlm, TablesHoldTheSameNumbers) {
  const auto rows = efficient_rows(some_records(), ManifestInfo{});
  std::istringstream csv(efficient_csv(rows));
  std::string head, first;
  std::getline(csv, head);
  std::getline(csv, first);
  EXPECT_EQ(head,
            "model,dataset,method,compression_ratio,ppl,prefill_time,ttft,tpot,throughput,"
            "decode_time,total_generation_time,generation_prompt_tokens,generation_output_tokens,"
            "generation_total_tokens,ppl_delta,prefill_speedup,ttft_speedup,tpot_speedup,"
            "throughput_ratio");
  EXPECT_EQ(first.rfind("org/tiny,wikitext,baseline,0,", 0), 0u) << first;
  const auto json = nlohmann::json::parse(efficient_json(rows));
  ASSERT_EQ(json.size(), 3u);
  EXPECT_EQ(json[1]["method"], "knorm");
  EXPECT_EQ(json[1]["tpot"].get<double>(), rows[1].tpot);
}

TEST(EfficientLlm, UntimedRunsHaveNoTimes) {
  std::vector<SampleRecord> records;
  for (const SampleRecord& r : some_records()) {
    if (r.task == "perplexity") records.push_back(r);
  }
  const auto rows = efficient_rows(records, ManifestInfo{});
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_TRUE(std::isnan(rows[1].tpot));
  EXPECT_NEAR(rows[1].ppl_delta, 4, 1e-9);
  EXPECT_TRUE(nlohmann::json::parse(efficient_json(rows))[1]["ttft"].is_null());
  EXPECT_TRUE(efficient_panel(rows, "tpot").series.empty());
}

TEST(EfficientLlm, DatasetsGoByTheirNames) {
  EXPECT_EQ(efficient_dataset("perplexity(data='/d e/wiki.test.raw',join=eos)"), "wikitext");
  EXPECT_EQ(efficient_dataset("perplexity(data=PG19-books.jsonl,join=eos)"), "pg19");
  EXPECT_EQ(efficient_dataset("perplexity(data=../own/essays.txt)"), "essays");
  EXPECT_EQ(efficient_dataset("perplexity(join=eos)"), "prose");
}

TEST(EfficientLlm, TwoPerplexitiesOfOneDatasetAreRefused) {
  std::vector<SampleRecord> records = some_records();
  SampleRecord other = records[0];
  other.task_spec = "perplexity(data='data/wiki.test.raw',join=raw)";
  other.fingerprint += "x";
  records.push_back(other);
  EXPECT_THROW(efficient_rows(records, ManifestInfo{}), Error);
}

TEST(EfficientLlm, WritesItsFilesAndPlots) {
  const TestFolder folder;
  std::vector<SampleRecord> records = some_records();
  SampleRecord second = records[0];
  second.task_spec = "perplexity(join=eos)";
  second.fingerprint += "prose";
  records.push_back(second);
  const auto file = export_efficient_llm(records, ManifestInfo{}, folder.path() / "out");
  EXPECT_EQ(file, folder.path() / "out/org_tiny_wikitext_kv_metrics.csv");
  for (const char* name : {"org_tiny_wikitext_kv_metrics.json", "org_tiny_prose_kv_metrics.csv",
                           "org_tiny_combined_kv_metrics.csv", "org_tiny_combined_kv_metrics.json",
                           "plots/wikitext/org_tiny_wikitext_ppl_vs_compression.svg",
                           "plots/wikitext/org_tiny_wikitext_tpot_vs_compression.png",
                           "plots/wikitext/org_tiny_wikitext_throughput_vs_compression.png"}) {
    EXPECT_TRUE(std::filesystem::exists(folder.path() / "out" / name)) << name;
  }
}

std::vector<SampleRecord> records_of(const std::string& model) {
  std::vector<SampleRecord> records = some_records();
  for (SampleRecord& r : records) {
    r.model = model;
    r.fingerprint += model;
  }
  return records;
}

TEST(EfficientLlm, AModelGivenAsAPathIsCalledByItsFile) {
  const TestFolder folder;
  std::vector<SampleRecord> records = records_of("/some where/tiny-1.5b.gguf");
  EXPECT_EQ(export_efficient_llm(records, ManifestInfo{}, folder.path() / "one"),
            folder.path() / "one/tiny-1.5b_wikitext_kv_metrics.csv");

  for (const SampleRecord& r : records_of("../other/tiny-1.5b")) records.push_back(r);
  export_efficient_llm(records, ManifestInfo{}, folder.path() / "two");
  int tables = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder.path() / "two")) {
    tables += file.path().extension() == ".csv";
  }
  EXPECT_EQ(tables, 2);
}

}  // namespace
}  // namespace kv
