// How many caches may be alive together.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/model_config.h"
#include "runner/config.h"
#include "runner/prepare.h"

namespace kv {

struct MemoryPlan {
  int64_t budget_bytes = 0;           // for caches and logits
  int64_t largest_context_bytes = 0;  // the longest context's exact cache
  int cells_at_once = 1;              // compressed caches kept beside the exact one
  int batch = 1;                      // sequences decoded together
  int64_t peak_bytes = 0;             // estimate: caches, answers and logits of the largest unit
};

// What an answer takes at most: its parts up to their limits and what is fed between them.
int64_t most_answer_tokens(const Sample& sample, int max_new_tokens);

// Bytes of one token's rows in all layers and KV heads.
int64_t row_bytes(const ModelConfig& config, int bytes_per_value);

// budget: run.memory, or 60 % of what is free now. Throws Error(kUsage) where even one cell of the
// longest context does not fit.
MemoryPlan plan_memory(const RunConfig& config, const PreparedModel& model);

}  // namespace kv
