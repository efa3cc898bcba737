// `kvengine run`: the whole sweep.
#pragma once

#include "runner/config.h"
#include "runner/prepare.h"

namespace kv {

// Checks everything, then works through all units of all models and writes the reports. The exit
// status: 0, 1 where samples failed, 130 where it was interrupted. Throws Error before the work for
// everything that can be known then.
int run_sweep(const RunConfig& config, const RunFlags& flags);

// Prints the numbered cells, their fingerprints, what is done already and estimates of time and
// memory to stdout.
void print_dry_run(const RunConfig& config, const Preparation& preparation, bool fresh);

// Prints what was checked, and one prompt of each task as the model sees it, to stdout.
void print_validation(const RunConfig& config, const Preparation& preparation);

}  // namespace kv
