// Everything that is checked before a run starts: models loaded once, samples made, cells
// fingerprinted.
#pragma once

#include <memory>
#include <vector>

#include "engine/model.h"
#include "runner/cells.h"
#include "runner/config.h"

namespace kv {

// All questions about one context, of every task. The context is prefilled once for all of them and
// for all cells.
struct Unit {
  struct Question {
    size_t task = 0;    // index into RunConfig::tasks
    size_t sample = 0;  // index into PreparedModel::samples[task]
  };
  std::vector<Question> questions;
};

struct PreparedModel {
  ModelIdentity identity;
  size_t weight_bytes = 0;
  std::vector<std::vector<Sample>> samples;  // (n_tasks)
  std::vector<Unit> units;  // in the order of their contexts' tokens; this shard's only
};

struct Preparation {
  std::vector<PreparedModel> models;
  std::vector<Cell> cells;  // model, task, compressor; see make_cells
  std::shared_ptr<const Model>
      only_model;  // kept where there is one model, so that it is not loaded twice

  const Cell& cell(size_t model, size_t task, size_t compressor) const;
  size_t n_tasks = 0, n_compressors = 0;
};

std::shared_ptr<const Model> load_model(const ModelEntry& entry, const RunOptions& run);

// What tasks may ask a model's text handling; empty functions without a tokenizer.
TextTools text_tools(const Model& model);

// Questions grouped by equal contexts, those that begin alike beside each other. A shard keeps one
// run of them, so that what they share is prefilled once.
std::vector<Unit> make_units(const std::vector<std::vector<Sample>>& samples, const Shard& shard);

// Loads every model, makes every sample, checks that every compressor can store these heads. Throws
// Error.
Preparation prepare(const RunConfig& config);

}  // namespace kv
