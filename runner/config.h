// CONFIG.yaml and the flags of `run` -> RunConfig, strict: what is not understood is an error with
// its line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "compress/registry.h"
#include "engine/value.h"
#include "tasks/task.h"

namespace kv {

// The flags of `run` and `validate`, as given. A flag wins over the config.
struct RunFlags {
  std::string config;
  std::vector<std::string> models, compressors, tasks, sets;
  std::string out, shard;
  std::optional<int> limit, max_new_tokens, threads;
  bool fresh = false, dry_run = false, quiet = false, allow_code_execution = false;
};

// run.timing: which samples are measured alone, and how often.
struct TimingOptions {
  bool on = false;
  int warmup = 1, repetitions = 3;  // runs before, and runs that count
  std::vector<std::string> tasks;   // names; empty: every task
  int samples = 0;                  // the first so many of each cell; 0: all

  bool wants(const std::string& task, size_t sample) const;
};

// The `run` map of a config. Only kv_dtype, weights, gemm, max_new_tokens and seed may change a
// score.
struct RunOptions {
  int threads = 1;
  std::string kv_dtype;      // f32 | f16 | bf16
  std::string weights;       // stored | f32 | bf16 | f16
  std::string gemm;          // native | openblas
  int prefill_chunk = 0;     // tokens in one pass; 0: the session chooses
  int batch = 0;             // sequences decoded together; 0: chosen
  int64_t memory_bytes = 0;  // for caches and logits, weights not counted; 0: 60 % of what is free
  TimingOptions timing;
  int max_new_tokens = 0;
  bool same_max_new_tokens = false;  // for all answers, whatever a task or its data say
  int64_t seed = 0;
  std::string sandbox;        // bubblewrap | rlimits
  std::filesystem::path out;  // absolute
};

struct ModelEntry {
  std::string name;                // as written
  std::filesystem::path location;  // absolute
  double rope_theta_factor = 1;    // "M(rope_theta_factor=32)"
};

struct TaskEntry {
  std::shared_ptr<const Task> task;
  Value source;    // as written
  int limit = -1;  // samples; -1: all
};

struct Shard {
  int index = 0, count = 1;
};

struct RunConfig {
  std::filesystem::path file;  // absolute
  std::vector<ModelEntry> models;
  std::vector<CompressorSpec> compressors;  // the full cache first; each canonical form once
  std::vector<TaskEntry> tasks;
  RunOptions run;
  Shard shard;
  std::vector<std::string> notes;  // what was merged or added, for people
};

// Reads and checks everything that does not need a model's weights: keys, ranges, specs, tasks,
// where models lie. Throws Error.
RunConfig load_config(const RunFlags& flags);

// The same from text; file is the (absolute) name that paths are relative to and that messages
// show.
RunConfig parse_config(const std::string& text, const std::filesystem::path& file,
                       const RunFlags& flags);

// Complete enough to repeat the run: every key with its value, compressors in canonical form.
nlohmann::ordered_json resolved_config_json(const RunConfig& config);

// "8GiB", "500MB", "1024" -> bytes; nothing where it is no size.
std::optional<int64_t> parse_bytes(const std::string& text);

// "1/4" -> {1, 4}. Throws Error(kUsage).
Shard parse_shard(const std::string& text);

// Sets what "run.kv_dtype=f32" or "tasks[0].lengths=[256, 512]" says in a parsed config; maps on
// the way are made. Throws Error(kUsage).
void apply_set(Value& config, const std::string& assignment);

}  // namespace kv
