// The only door to threads. Work is split over outputs, never over a sum.
#pragma once

#include <cstdint>

namespace kv {

// Number of threads that parallel_for uses from now on (>= 1), the caller included. Not to be
// called from inside one.
void set_threads(int n);
int threads();
const char* thread_library_version();  // of oneTBB: "2021.8.0"

namespace internal {
// Calls work(context, i) for each i in [0, n).
void run_parallel(int64_t n, void (*work)(const void* context, int64_t i), const void* context);
}  // namespace internal

// Calls fn(i) once for each i in [0, n), in any order, on any thread; returns when all are done. fn
// must not throw. Calls may be nested; a nested one uses the threads that are idle.
template <typename Fn>
void parallel_for(int64_t n, const Fn& fn) {
  if (n <= 1 || threads() == 1) {
    for (int64_t i = 0; i < n; ++i) fn(i);
  } else {
    internal::run_parallel(
        n, [](const void* context, int64_t i) { (*static_cast<const Fn*>(context))(i); }, &fn);
  }
}

}  // namespace kv
