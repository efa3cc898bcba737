// longctx_bench's JSON files in a config: its pipelines become models and compressors, its evaluations
// tasks.
//
//   longctx_bench:
//     pipeline_config: [h2o/4x.json, baseline]   # files, or folders whose .json files all count
//     eval_config: longbench                     # likewise
//     data: LongBench                            # instead of an evaluation's dataset_path
//     background: essays                         # instead of its background_dir
//     max_length: 3500                           # instead of the pipelines' model_max_len
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/value.h"

namespace kv {

// How a pipeline treats prompts; all pipelines of one run must agree.
struct LongctxPrompts {
  std::optional<bool>
      chat;  // a chat template goes around prompts of LongBench; where the model has one
  bool cuts_middle = false;  // of prompts above max_length
  int max_length = 0;        // tokens; where cuts_middle; 0: as the model says
  bool operator==(const LongctxPrompts&) const = default;
};

struct LongctxPipeline {
  std::string model;  // hub id; with "(rope_theta_factor=32)" where that is not 1
  std::string spec;   // of the compressor
  LongctxPrompts prompts;
  // What the file says of the model's own RoPE; 0: nothing.
  double rope_base = 0, rope_linear_factor = 0;
  std::string place;
};

// One parsed file of each kind, of longctx_bench or as `report --format longctx-bench` writes it (then
// kvengine_spec and kvengine_task say all). Throws Error(kUsage) for keys that it does not have and methods that
// this build does not have, with the reason.
LongctxPipeline read_longctx_pipeline(const Value& file);
// A task as a config would have it. prompts: the pipelines', or null. data, background: instead of the
// file's own folders, or empty.
Value read_longctx_eval(const Value& file, const LongctxPrompts* prompts, const std::string& data,
                        const std::string& background);

// What a config's `longctx_bench` map stands for, as entries of the other lists.
struct LongctxEntries {
  Value model;  // null where no pipeline is given
  std::vector<Value> compressors, tasks;
  std::vector<LongctxPipeline> pipelines;
};
// folder: what paths are relative to.
LongctxEntries read_longctx(const Value& map, const std::filesystem::path& folder);

// Throws Error(kData) where a pipeline's RoPE is not that of the model at `location`.
void check_longctx_rope(const std::vector<LongctxPipeline>& pipelines,
                        const std::filesystem::path& location);

}  // namespace kv
