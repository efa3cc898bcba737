// The only header that knows threads exist. Work is split over outputs, never over a sum.
#pragma once

#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace kv {

namespace internal {

struct Pool {
  // The limit lets tests ask for more threads than there are cores; TBB alone would warn on stderr.
  explicit Pool(int n)
      : limit(tbb::global_control::max_allowed_parallelism, static_cast<size_t>(n)), arena(n) {}
  tbb::global_control limit;
  tbb::task_arena arena;
};

inline std::unique_ptr<Pool>& pool() {
  static auto p = std::make_unique<Pool>(tbb::this_task_arena::max_concurrency());
  return p;
}

#ifdef __SANITIZE_THREAD__
// ThreadSanitizer cannot see the synchronisation inside libtbb and reports races in TBB itself.
// With plain threads it checks what is ours: that no two calls of fn touch the same memory.
template <typename Fn>
void run_parallel(int64_t n, int n_threads, const Fn& fn) {
  std::atomic<int64_t> next = 0;
  const auto work = [&] {
    for (int64_t i = next++; i < n; i = next++) fn(i);
  };
  std::vector<std::thread> helpers;
  for (int t = 1; t < n_threads; ++t) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
}
#else
template <typename Fn>
void run_parallel(int64_t n, int, const Fn& fn) {
  pool()->arena.execute([&] {
    tbb::parallel_for(
        tbb::blocked_range<int64_t>(0, n, 1),
        [&](const tbb::blocked_range<int64_t>& range) {
          for (int64_t i = range.begin(); i < range.end(); ++i) fn(i);
        },
        tbb::simple_partitioner());
  });
}
#endif

}  // namespace internal

// Number of threads that parallel_for uses from now on (>= 1), the caller included. Not to be
// called from inside one.
inline void set_threads(int n) {
  internal::pool().reset();  // of two limits that exist at once TBB takes the lower one
  internal::pool() = std::make_unique<internal::Pool>(n);
}
inline int threads() {
  return internal::pool()->arena.max_concurrency();
}

// Calls fn(i) once for each i in [0, n), in any order, on any thread; returns when all are done. fn
// must not throw. Calls may be nested; a nested one uses the threads that are idle.
template <typename Fn>
void parallel_for(int64_t n, const Fn& fn) {
  const int n_threads = threads();
  if (n <= 1 || n_threads == 1) {
    for (int64_t i = 0; i < n; ++i) fn(i);
  } else {
    internal::run_parallel(n, n_threads, fn);
  }
}

}  // namespace kv
