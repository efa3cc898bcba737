#include "kernels/parallel.h"

#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>
#include <tbb/version.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace kv {
namespace {

struct Pool {
  // The limit lets tests ask for more threads than there are cores; TBB alone would warn on stderr.
  explicit Pool(int n)
      : limit(tbb::global_control::max_allowed_parallelism, static_cast<size_t>(n)), arena(n) {}
  tbb::global_control limit;
  tbb::task_arena arena;
};

std::unique_ptr<Pool>& pool() {
  static auto p = std::make_unique<Pool>(tbb::this_task_arena::max_concurrency());
  return p;
}

}  // namespace

void set_threads(int n) {
  pool().reset();  // of two limits that exist at once TBB takes the lower one
  pool() = std::make_unique<Pool>(n);
}

int threads() {
  return pool()->arena.max_concurrency();
}

const char* thread_library_version() {
  return TBB_runtime_version();
}

namespace internal {

#ifdef __SANITIZE_THREAD__
// ThreadSanitizer cannot see the synchronisation inside libtbb and reports races in TBB itself.
// With plain threads it checks what is ours: that no two calls touch the same memory.
void run_parallel(int64_t n, void (*work)(const void*, int64_t), const void* context) {
  std::atomic<int64_t> next = 0;
  const auto take = [&] {
    for (int64_t i = next++; i < n; i = next++) work(context, i);
  };
  std::vector<std::thread> helpers;
  for (int t = 1; t < threads(); ++t) helpers.emplace_back(take);
  take();
  for (std::thread& helper : helpers) helper.join();
}
#else
void run_parallel(int64_t n, void (*work)(const void*, int64_t), const void* context) {
  pool()->arena.execute([&] {
    tbb::parallel_for(
        tbb::blocked_range<int64_t>(0, n, 1),
        [&](const tbb::blocked_range<int64_t>& range) {
          for (int64_t i = range.begin(); i < range.end(); ++i) work(context, i);
        },
        tbb::simple_partitioner());
  });
}
#endif

}  // namespace internal
}  // namespace kv
