// run.timing: one sample of one cell measured alone, after its answer is known.
#pragma once

#include "engine/kv_plan.h"
#include "engine/session.h"
#include "runner/config.h"
#include "runner/results.h"
#include "tasks/task.h"

namespace kv {

// run.timing.warmup times for warming up, then run.timing.repetitions times: prefill, compress,
// answer. Fills the timing fields of `record` with medians and timing_spread with largest minus
// smallest.
void measure_alone(Session& session, const Sample& sample, const CompressionPlan& plan,
                   const RunOptions& run, SampleRecord& record);

}  // namespace kv
