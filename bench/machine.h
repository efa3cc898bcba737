// What this machine can do at this moment. Other programs on it lower both figures; compare only
// within one run.
#pragma once

#include "kernels/kernels.h"

namespace kv {

// Fused multiply-adds of n_threads threads that touch no memory, as two operations each; 0 for the
// scalar table and where this CPU lacks the instruction set.
double fma_peak_gflops(Isa isa, int n_threads);

// The same over some 20 ms, good and bad moments alike, for what is timed just before or after.
double fma_gflops_now(Isa isa, int n_threads);

// Reading from memory, well beyond the caches: several prefetched streams for each thread, on huge
// pages.
double read_gigabytes_per_s(int n_threads);

}  // namespace kv
