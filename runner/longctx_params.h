// Our models, specs and tasks under longctx_bench's names: the inverse of longctx_config.h.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runner/results.h"
#include "tasks/longbench_sets.h"

namespace kv {

// What one cell is called there.
struct LongctxCell {
  const LongBenchSet* set = nullptr;  // null: passkey
  std::string method;                 // "h2o_longbench"; ours where it has none
  std::string group;                  // "longbench", or "paulgraham_passkey/<grid>"
  std::string method_folder, rate, model_folder;
  std::string prediction_file;  // LongBench; without its ending
  std::shared_ptr<const nlohmann::ordered_json> pipeline_params, eval_params;  // never null

  std::filesystem::path folder() const;  // of its results, below the root
};

bool is_longctx_task(const std::string& task_spec);  // longbench or passkey

// record: any of the cell's. Throws Error(kData) where its task or spec cannot be read back.
LongctxCell longctx_cell(const SampleRecord& record);

// The names of the files in a result folder, as eval configs list them.
nlohmann::ordered_json longctx_sub_dir();

}  // namespace kv
