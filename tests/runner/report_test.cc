#include "runner/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/error.h"
#include "runner/chart_svg.h"
#include "runner/report_degradation.h"

namespace kv {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPerplexity =
    "perplexity(join=raw,max_length=512,prefix_ratio=0.5,min_chars=0)";

SampleRecord record(const std::string& method, double ratio, const std::string& task, int sample) {
  SampleRecord r;
  r.model = "tiny";
  r.method = method;
  r.compression_ratio = ratio;
  r.budget = 1 - ratio;
  r.task = task;
  r.task_spec = task == "perplexity" ? kPerplexity : "passkey(lengths=[512])";
  r.spec = method == "none"
               ? "none"
               : method + "(ratio=" + std::to_string(ratio).substr(0, 4) + ",window=64)";
  r.fingerprint = r.spec + r.task_spec;
  r.sample_id = "s" + std::to_string(sample);
  r.n_context = 256;
  r.kv_bytes_full = 1000;
  r.kv_bytes = static_cast<int64_t>(1000 * (1 - ratio)) + 16;
  return r;
}

std::vector<SampleRecord> sample_records() {
  std::vector<SampleRecord> records;
  for (double ratio : {0.75, 0.0, 0.5}) {
    for (int i = 0; i < 4; ++i) {
      const std::string method = ratio == 0 ? "none" : "snapkv";
      SampleRecord ppl = record(method, ratio, "perplexity", i);
      const double nll = 2 + 0.1 * i + ratio;
      ppl.scores = {{"ppl", std::exp(nll)}, {"nll", nll}, {"tokens", 256}};
      records.push_back(ppl);
      SampleRecord key = record(method, ratio, "passkey", i);
      key.scores = {{"exact_match", ratio < 0.6 || i == 0 ? 1 : 0},
                    {"partial_match", ratio < 0.6 ? 1 : 0.5}};
      records.push_back(key);
    }
  }
  return records;
}

ManifestInfo manifest() {
  ManifestInfo info;
  info.version = "0.1.0";
  info.models = {"tiny"};
  info.tasks = {kPerplexity, "passkey(lengths=[512])"};
  info.compressors = {"none", "snapkv(ratio=0.50,window=64)", "snapkv(ratio=0.75,window=64)"};
  info.limits = {{"passkey", 4}};
  return info;
}

std::string read(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Report, CellsFollowTheManifest) {
  const auto cells = report_cells(sample_records(), manifest());
  ASSERT_EQ(cells.size(), 6u);
  EXPECT_EQ(cells[0].task, "perplexity");
  EXPECT_TRUE(cells[0].is_baseline());
  EXPECT_EQ(cells[2].compression_ratio, 0.75);
  EXPECT_EQ(cells[3].task, "passkey");
  EXPECT_NEAR(cells[1].metrics.at("nll").value, 2.65, 1e-12);
  EXPECT_NEAR(cells[1].metrics.at("ppl").value, std::exp(2.65), 1e-9);
  EXPECT_NEAR(cells[1].differences.at("nll").value, 0.5, 1e-12);
  EXPECT_DOUBLE_EQ(cells[1].kv_bytes, 516);
  EXPECT_DOUBLE_EQ(cells[1].kv_retained, 0.516);
  EXPECT_DOUBLE_EQ(cells[5].metrics.at("exact_match").value, 0.25);
}

TEST(Report, CsvHeaderAndQuoting) {
  const std::string csv = cells_csv(report_cells(sample_records(), manifest()));
  std::istringstream lines(csv);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line,
            "model,compressor,compression_ratio,task,metric,value,n,ci_low,ci_high,kv_bytes,kv_"
            "retained,spec");
  std::getline(lines, line);
  EXPECT_EQ(line.rfind("tiny,none,0,perplexity,ppl,", 0), 0u) << line;
  EXPECT_TRUE(has(csv, "tiny,snapkv,0.75,passkey,exact_match,0.25,4,"));
  EXPECT_TRUE(has(csv, ",0.266,\"snapkv(ratio=0.75,window=64)\"\n"));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 3 * 3 + 3 * 2);
}

TEST(Report, JsonHasTheDifferenceToNone) {
  const auto json = nlohmann::json::parse(cells_json(report_cells(sample_records(), manifest())));
  ASSERT_EQ(json.size(), 15u);
  EXPECT_FALSE(json[0].contains("difference_to_none"));
  EXPECT_NEAR(json[4]["difference_to_none"]["value"].get<double>(), 0.5, 1e-12);
  EXPECT_EQ(json[4]["metric"], "nll");
  EXPECT_EQ(json[4]["difference_to_none"]["n"], 4);
}

TEST(Report, MarkdownNamesProtocolLimitsAndCounts) {
  const std::string text = results_markdown(report_cells(sample_records(), manifest()), manifest());
  EXPECT_TRUE(has(text, "**Limited run**"));
  EXPECT_TRUE(has(text, "(passkey 4)"));
  EXPECT_TRUE(has(text, "Windows of 512 tokens"));
  EXPECT_TRUE(has(text, "1024 tokens were scored in 4 windows"));
  EXPECT_TRUE(has(text, "| snapkv | 0.5 | 4 |"));
  EXPECT_TRUE(has(text, "+0.5000 [0.5000, 0.5000]"));
  EXPECT_TRUE(has(text, "51.6 %"));
  ManifestInfo unlimited = manifest();
  unlimited.limits.clear();
  unlimited.weights = "codes";
  EXPECT_FALSE(
      has(results_markdown(report_cells(sample_records(), unlimited), unlimited), "Limited run"));
  EXPECT_TRUE(has(results_markdown(report_cells(sample_records(), unlimited), unlimited),
                  "weights codes (activations rounded to eight bits)"));
}

TEST(Report, FailedSamplesAreCountedAndNotAveraged) {
  auto records = sample_records();
  SampleRecord failed = record("snapkv", 0.5, "passkey", 9);
  failed.error = "out of memory";
  records.push_back(failed);
  const auto cells = report_cells(records, manifest());
  EXPECT_EQ(cells[4].n_failed, 1);
  EXPECT_EQ(cells[4].n_samples, 4);
  EXPECT_TRUE(has(results_markdown(cells, manifest()),
                  "1 samples failed and are not in the table: out of memory"));
  SampleRecord repeated = failed;  // the failed sample was run again and the later record wins
  repeated.error.clear();
  repeated.scores = {{"exact_match", 0}, {"partial_match", 0}};
  records.push_back(repeated);
  EXPECT_EQ(report_cells(records, manifest())[4].n_failed, 0);
  EXPECT_EQ(report_cells(records, manifest())[4].metrics.at("exact_match").value, 0.8);
}

TEST(Report, OneNameTwiceIsToldApart) {
  auto records = sample_records();
  SampleRecord other = record("none", 0, "passkey", 0);
  other.task_spec = "passkey(lengths=[1024])";
  other.scores = {{"exact_match", 1}};
  records.push_back(other);
  const auto cells = report_cells(records, manifest());
  EXPECT_EQ(cells.back().task, "passkey(lengths=[1024])");
  EXPECT_EQ(cells[3].task, "passkey(lengths=[512])");
  EXPECT_EQ(cells[0].task, "perplexity");
}

TEST(Report, FilesDoNotDependOnTheOrderOfRecords) {
  std::string pattern = (fs::temp_directory_path() / "kv_report_XXXXXX").string();
  const fs::path dir = mkdtemp(pattern.data());
  auto records = sample_records();
  write_reports(records, manifest(), dir);
  const std::vector<fs::path> files = {dir / "cells.csv",
                                       dir / "cells.json",
                                       dir / "RESULTS.md",
                                       dir / "figures" / "quality_vs_memory.svg",
                                       dir / "report.html",
                                       dir / "figures" / "divergence_tiny.svg",
                                       dir / "figures" / "divergence_tiny.png"};
  std::vector<std::string> first;
  for (const fs::path& file : files) first.push_back(read(file));
  std::reverse(records.begin(), records.end());
  write_reports(records, manifest(), dir);
  for (size_t i = 0; i < files.size(); ++i) {
    EXPECT_FALSE(first[i].empty()) << files[i];
    EXPECT_EQ(read(files[i]), first[i]) << files[i];
  }
  fs::remove_all(dir);
}

// The full cache finds every passkey: the scale's end is named in each report. Perplexity has none.
TEST(Report, ScaleEndsAreNamedWhereTheyApply) {
  const auto cells = report_cells(sample_records(), manifest());
  EXPECT_EQ(cells[4].scale_ends.at("exact_match"), ScaleEnd::kCeiling);
  EXPECT_EQ(cells[1].scale_ends.size(), 0u);
  const auto json = nlohmann::json::parse(cells_json(cells));
  EXPECT_FALSE(json[0].contains("discriminative"));
  EXPECT_EQ(json[14]["metric"], "partial_match");
  EXPECT_EQ(json[14]["discriminative"], false);
  EXPECT_TRUE(has(results_markdown(cells, manifest()),
                  "`discriminative: false` in exact_match: the full cache itself sits at the "
                  "ceiling of the scale at 1.000 [0.5101, 1.000]"));
  auto middling = sample_records();
  for (SampleRecord& r : middling) {
    if (r.spec == "none" && r.task == "passkey") r.scores["exact_match"] = r.sample_id < "s2";
  }
  const auto fair = nlohmann::json::parse(cells_json(report_cells(middling, manifest())));
  EXPECT_EQ(fair[9]["metric"], "exact_match");
  EXPECT_EQ(fair[9]["discriminative"], true);
}

TEST(Report, AnswersStandBesideTheFullCaches) {
  auto records = sample_records();
  for (SampleRecord& r : records) {
    if (r.task != "passkey") continue;
    r.stop_reason = "eos";
    r.output = r.spec == "none" ? "12345" : "123xy" + std::string(r.compression_ratio > 0.6, 'z');
    r.output_ids = {7, 8, 9, r.spec == "none" ? 1 : 2};
    if (r.spec != "none") r.output_ids.insert(r.output_ids.end(), {3, 4});
    r.n_tokens = static_cast<int64_t>(r.output_ids.size());
  }
  const auto cells = report_cells(records, manifest());
  EXPECT_EQ(cells[3].answers.n, 0);  // the full cache itself
  EXPECT_EQ(cells[4].answers.n, 4);
  EXPECT_EQ(cells[4].answers.first_divergence, 3);
  EXPECT_EQ(cells[4].answers.length_ratio, 1.5);
  const auto json = nlohmann::json::parse(cells_json(cells));
  EXPECT_EQ(json[11]["answers_beside_none"]["first_divergent_token"]["value"], 3);
  EXPECT_EQ(json[11]["answers_beside_none"]["same_text"]["value"], 0);
  EXPECT_TRUE(has(results_markdown(cells, manifest()),
                  "| snapkv | 0.5 | 4 | 0 [0, 0.4899] | 3.000 [3.000, 3.000] | 1.500"));
}

TEST(Report, DivergenceIsRelativeToTheFullCache) {
  const auto cells = report_cells(sample_records(), manifest());
  const ChartPanel panel = divergence_panel(cells, "tiny");
  ASSERT_EQ(panel.series.size(), 3u);
  EXPECT_TRUE(panel.series[0].reference);
  const ChartSeries &function = panel.series[1], &quality = panel.series[2];
  EXPECT_FALSE(function.dashed);
  EXPECT_TRUE(quality.dashed);
  EXPECT_EQ(quality.colour_of, function.label);
  ASSERT_EQ(function.points.size(), 2u);
  EXPECT_DOUBLE_EQ(function.points[0].x, 0.266);  // ratio 0.75 keeps less
  EXPECT_DOUBLE_EQ(function.points[0].y, 0.25);
  EXPECT_DOUBLE_EQ(function.points[1].y, 1);
  EXPECT_NEAR(quality.points[0].y, std::exp(-0.75), 1e-12);
  EXPECT_NEAR(quality.points[1].y, std::exp(-0.5), 1e-12);
  EXPECT_EQ(divergence_figure(cells, "tiny"), "divergence_tiny");
  EXPECT_EQ(divergence_figure(cells, "another"), "");
}

ReportCell cell_of(const std::string& task_spec, const std::vector<std::string>& metrics) {
  ReportCell cell;
  cell.task_spec = task_spec;
  for (const std::string& metric : metrics) cell.metrics[metric] = {};
  return cell;
}

// The headline of what generates, whatever else was measured.
TEST(Report, FunctionalMetrics) {
  EXPECT_EQ(functional_metric(cell_of("tool_call(protocol=kv-canary)",
                                      {"arg_match", "func_correct", "json_valid", "kld"})),
            "func_correct");
  EXPECT_EQ(functional_metric(cell_of("tool_call(protocol=kv-exec-bench)",
                                      {"args_exact", "json_valid", "name_and_schema"})),
            "name_and_schema");
  EXPECT_EQ(functional_metric(cell_of("code_exec()", {"edit_sim", "pass@1"})), "pass@1");
  EXPECT_EQ(functional_metric(cell_of("passkey()", {"exact_match", "kld"})), "exact_match");
  EXPECT_EQ(functional_metric(cell_of("perplexity()", {"nll", "ppl"})), "");
  EXPECT_EQ(functional_metric(cell_of("passkey()", {})), "");
}

// Code that stops working while perplexity stays: the gap shows it.
TEST(Report, SilentDegradationIsInTheReports) {
  auto records = sample_records();
  std::erase_if(records, [](const SampleRecord& r) { return r.task == "passkey"; });
  const auto without = report_cells(records, manifest());
  EXPECT_TRUE(degradation_rows(without, "tiny").empty());  // nothing generates
  EXPECT_FALSE(has(results_markdown(without, manifest()), "Silent degradation"));
  for (double ratio : {0.0, 0.5}) {
    for (int i = 0; i < 4; ++i) {
      SampleRecord code = record(ratio == 0 ? "none" : "snapkv", ratio, "code_exec", i);
      code.task_spec = "code_exec()";
      code.fingerprint = code.spec + code.task_spec;
      code.scores = {{"pass@1", ratio == 0 || i == 0 ? 1 : 0}};
      records.push_back(code);
    }
  }
  const auto cells = report_cells(records, manifest());
  const auto rows = degradation_rows(cells, "tiny");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].cell->compression_ratio, 0.5);
  EXPECT_NEAR(rows[0].degradation.gap, std::exp(-0.5) - 0.25, 1e-9);
  EXPECT_TRUE(has(results_markdown(cells, manifest()), "| snapkv | 0.5 | 0.2500 (1.000) |"));
  EXPECT_TRUE(has(report_html(cells, records, manifest()), "<h3>Silent degradation</h3>"));
}

// A folder where a PNG should be: everything but the PNGs is there all the same.
TEST(Report, APictureThatCannotBeWrittenCostsNothingElse) {
  std::string pattern = (fs::temp_directory_path() / "kv_report_XXXXXX").string();
  const fs::path dir = mkdtemp(pattern.data());
  fs::create_directories(dir / "figures" / "quality_vs_memory.png" / "in_the_way");
  try {
    write_reports(sample_records(), manifest(), dir);
    FAIL();
  } catch (const Error& e) {
    EXPECT_TRUE(has(e.what(), "quality_vs_memory.png: cannot be put in place")) << e.what();
  }
  for (const char* file : {"cells.csv", "cells.json", "RESULTS.md", "report.html",
                           "figures/quality_vs_memory.svg", "figures/divergence_tiny.svg"}) {
    EXPECT_FALSE(read(dir / file).empty()) << file;
  }
  fs::remove_all(dir);
}

// A divergence of exactly 0 in every sample is no count of successes.
TEST(Report, DivergencesAreNoShares) {
  auto records = sample_records();
  for (SampleRecord& r : records) {
    r.scores["kld"] = 0;
    r.scores["top1_agreement"] = 1;
  }
  for (const ReportCell& cell : report_cells(records, manifest())) {
    EXPECT_EQ(cell.metrics.at("kld").ci_high, 0) << cell.task;
    EXPECT_EQ(cell.metrics.at("top1_agreement").ci_low, 1) << cell.task;
  }
}

TEST(Report, NothingYet) {
  EXPECT_TRUE(has(results_markdown({}, manifest()), "There are no records yet"));
  EXPECT_EQ(tradeoff_svg({}), "");
}

TEST(Chart, EscapesTextAndSurvivesValuesThatAreNoNumbers) {
  ChartPanel panel{"a < b & c", "x",
                   "y",         {{"one", {{0.5, NAN, 0, 0}, {0.25, 2, 2, 2}}, false, "", false}},
                   false,       false};
  const std::string svg = chart_svg("t", {panel}, 1);
  EXPECT_TRUE(has(svg, "a &lt; b &amp; c"));
  EXPECT_FALSE(has(svg, "nan"));
  EXPECT_FALSE(has(svg, "inf"));
  EXPECT_TRUE(has(svg, "fill=\"#ffffff\""));
  EXPECT_TRUE(has(svg, "</svg>"));
}

}  // namespace
}  // namespace kv
