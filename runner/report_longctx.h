// longctx_bench's result folders, made from our records.
//
//   longbench/<method>[/<rate>]/<model>/<data set>/
//   paulgraham_passkey/<grid>/<method>/<model>[/<rate>]/
//     input_config/{input_pipeline_config,input_eval_config}.json   our settings under its names
//     output_config.json    pipeline_params, eval_params, eval_results, management
//     raw_results.json      answers and scores
//     result_vis.{svg,png}  passkey: exact_match by length and depth
//     pred/<method>/        LongBench: its prediction file and result.json
//     exp.log
//   longbench/<method>[/<rate>]/<model>/longbench_result_summary.json
//
// A method that it does not have keeps our name; `kvengine_spec` and `kvengine_task` name every cell
// completely, and such an input_pipeline_config.json is itself a pipeline that a config may name.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "runner/results.h"

namespace kv {

// Writes them into dir, one folder for each model, task and compressor; other tasks are left out.
// Throws Error(kUsage) where there is none of its tasks. Returns dir.
std::filesystem::path export_longctx_bench(const std::vector<SampleRecord>& records,
                                           const ManifestInfo& manifest,
                                           const std::filesystem::path& dir);

// processed_results of one cell of passkey: {length: {depth: {metric: mean}}}, then
// background_len_wise_results (means over depths) and overall_results (means over all places).
nlohmann::ordered_json longctx_passkey_results(const std::vector<SampleRecord>& cell);

// Its summary of one model's LongBench scores (0 … 100) by data set: means of the groups and of the
// 15 sets that count, null where one of them is missing.
nlohmann::ordered_json longctx_summary(const std::map<std::string, double>& scores);

// "4x" for a share of 0.25 kept.
std::string longctx_rate(double kept);

}  // namespace kv
