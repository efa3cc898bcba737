// Efficient-LLM's tables and plots: suffix perplexity and speed of each method beside the baseline.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runner/chart_svg.h"
#include "runner/report_cells.h"
#include "runner/results.h"

namespace kv {

// One line of its kv_metrics table; NaN where nothing was measured. Times in seconds.
struct EfficientRow {
  std::string model, dataset;
  std::string method;            // "baseline" for the full cache, else our label
  double compression_ratio = 0;  // share of rows removed
  double ppl = 0;                // exp(total nll / tokens) of the suffixes
  // Medians over the repetitions, one prompt at a time. prefill: the prompt's forward pass with its
  // compression. ttft: until the first generated token. decode: all tokens after that; tpot: one of
  // them. total: ttft + decode. throughput: generated tokens / total, tokens per second.
  double prefill_time = 0, ttft = 0, tpot = 0, throughput = 0, decode_time = 0;
  double total_generation_time = 0;
  double generation_prompt_tokens = 0, generation_output_tokens = 0, generation_total_tokens = 0;
  // Beside the baseline of the same model and dataset: ppl minus its ppl; its time / ours; our
  // throughput / its.
  double ppl_delta = 0, prefill_speedup = 0, ttft_speedup = 0, tpot_speedup = 0;
  double throughput_ratio = 0;
};

// One row for each compressor of each perplexity task; speed comes from the task that generates and
// was timed, of the same model and data (its first, where there are more). records: the latest of
// each sample. Throws Error(kUsage) where two perplexity tasks of a model have the same data.
std::vector<EfficientRow> efficient_rows(const std::vector<SampleRecord>& records,
                                         const ManifestInfo& manifest);

// A column for each field of EfficientRow, in this order; empty or null where there is no number.
std::string efficient_csv(const std::vector<EfficientRow>& rows);
std::string efficient_json(const std::vector<EfficientRow>& rows);  // a list of objects

// "wikitext", "pg19", else the name of the data file without its ending; "prose" without data.
std::string efficient_dataset(const std::string& task_spec);

// One field against the share removed: a line for each method, from the baseline on. No series where
// nothing was measured. rows: of one model and dataset.
ChartPanel efficient_panel(const std::vector<EfficientRow>& rows, const std::string& field);

// Writes <model>_<dataset>_kv_metrics.csv and .json, a combined pair where there are several
// datasets, and plots/<dataset>/<model>_<dataset>_<field>_vs_compression.png into dir. Returns the
// first table's file.
std::filesystem::path export_efficient_llm(const std::vector<SampleRecord>& records,
                                           const ManifestInfo& manifest,
                                           const std::filesystem::path& dir);

}  // namespace kv
