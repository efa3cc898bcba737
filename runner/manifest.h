// manifest.json: what was run, where, on what, how it ended.
#pragma once

#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "runner/config.h"
#include "runner/memory_plan.h"
#include "runner/phases.h"
#include "runner/prepare.h"
#include "runner/results.h"

namespace kv {

class Manifest {
 public:
  // Writes <out>/manifest.json with exit_reason "running". An earlier manifest's sessions are kept
  // in "sessions". Throws Error(kData).
  Manifest(const RunConfig& config, const Preparation& preparation);
  ~Manifest();

  // Tokens of one prefill, and what it would have been had every (cell, sample) prefilled alone.
  void count_tokens(int64_t prefilled, int64_t requested);
  void count_samples(int64_t done, int64_t failed);
  // Adds the phases of one model's work to the session's.
  void add_phases(const Phases& phases);
  // What was planned for one model and what the process took; the largest model counts.
  // before_bytes: the process's peak before the work, weights included.
  void set_memory(const MemoryPlan& plan, int64_t before_bytes);

  // Rewrites the file, atomically.
  void finish(const std::string& exit_reason);

 private:
  void write() const;
  struct Content;
  std::filesystem::path path_;
  std::unique_ptr<Content> content_;
};

// What reports show, and which records belong to the run.
struct ManifestFile {
  ManifestInfo info;
  std::set<std::string> fingerprints;
};
// Throws Error(kData) where the file is missing, broken or of a later schema.
ManifestFile read_manifest(const std::filesystem::path& run_folder);

}  // namespace kv
