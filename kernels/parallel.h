// The only header that knows threads exist. Work is split over outputs, never over a sum.
#pragma once

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>

#include <cstdint>
#include <memory>

namespace kv {

namespace internal {
inline std::unique_ptr<tbb::task_arena>& arena() {
  static auto a = std::make_unique<tbb::task_arena>();
  return a;
}
}  // namespace internal

// Number of threads that parallel_for uses from now on (>= 1), the caller included. Not to be called from inside one.
inline void set_threads(int n) { internal::arena() = std::make_unique<tbb::task_arena>(n); }
inline int threads() { return internal::arena()->max_concurrency(); }

// Calls fn(i) once for each i in [0, n), in any order, on any thread. fn must not throw.
template <typename Fn>
void parallel_for(int64_t n, const Fn& fn) {
  if (n <= 1 || threads() == 1) {
    for (int64_t i = 0; i < n; ++i) fn(i);
    return;
  }
  internal::arena()->execute([&] {
    tbb::parallel_for(
        tbb::blocked_range<int64_t>(0, n, 1),
        [&](const tbb::blocked_range<int64_t>& range) {
          for (int64_t i = range.begin(); i < range.end(); ++i) fn(i);
        },
        tbb::simple_partitioner());
  });
}

}  // namespace kv
