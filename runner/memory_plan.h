// What a run may keep in memory at once: planned from lengths alone, before any work.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/kv_plan.h"
#include "engine/kv_policy.h"
#include "engine/model_config.h"
#include "runner/config.h"
#include "runner/prepare.h"

namespace kv {

// What an answer takes at most: its parts up to their limits and what is fed between them.
int64_t most_answer_tokens(const Sample& sample, int max_new_tokens);

// Bytes of the rows that a full cache holds after n_tokens tokens: of layers with a window those that the
// next token sees.
int64_t full_cache_bytes(const ModelConfig& config, int64_t n_tokens, int bytes_per_value);

// Upper bounds, in bytes, of what the parts of a run hold. Rows count in whole tiles, as they are
// allocated; no policy is taken at its word about how much it removes.
class MemoryCosts {
 public:
  MemoryCosts(const RunConfig& config, const ModelConfig& model);

  // A context's exact rows, and what policies want recorded while it is prefilled.
  int64_t prompt(size_t n_tokens, const KvCodec& codec, const KvNeeds& needs) const;
  // One cell's rows right after compression, with the lists of what stayed.
  int64_t cell(size_t n_tokens, const CompressionPlan& plan) const;
  // The rows that one sequence adds to its cell's: question and answer, and the tiles that it no
  // longer shares.
  int64_t answer(const Sample& sample) const;

 private:
  int64_t rows(size_t n_tokens, const KvCodec& codec) const;

  const RunConfig& config_;
  const ModelConfig& model_;
  CodecPtr kv_dtype_;
};

struct MemoryPlan {
  int64_t budget_bytes = 0;   // run.memory: for caches, passes and logits; weights not counted
  int64_t working_bytes = 0;  // of passes, logits and views, however much is in flight
  int64_t least_bytes = 0;    // the largest context with one cell and one sequence
  int64_t shared_bytes = 0;   // of the budget: for contexts and cells, the sequences' room left out
  int64_t peak_bytes = 0;     // what the run will take at most
  int batch = 1;              // sequences decoded together
  // Of the longest context: what fits beside each other.
  int cells_at_once = 1, contexts_at_once = 1;
};

// budget: run.memory, or 60 % of what is free now. Throws Error(kUsage) where even one cell of the
// largest context does not fit, with what would.
MemoryPlan plan_memory(const RunConfig& config, const PreparedModel& model);

}  // namespace kv
