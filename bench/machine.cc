#include "bench/machine.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>

#include "kernels/aligned.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

// Twelve independent chains hide the latency of the multiply-add; the asm keeps them in registers.
__attribute__((target("avx2,fma"))) void fma_chains_avx2(int64_t steps) {
  __m256 x[12];
  for (int i = 0; i < 12; ++i) x[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 factor = _mm256_set1_ps(0.999f);
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) x[i] = _mm256_fmadd_ps(x[i], factor, factor);
  }
  for (int i = 0; i < 12; ++i) asm volatile("" : : "x"(x[i]));
}

__attribute__((target("avx512f"))) void fma_chains_avx512(int64_t steps) {
  __m512 x[12];
  for (int i = 0; i < 12; ++i) x[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512 factor = _mm512_set1_ps(0.999f);
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) x[i] = _mm512_fmadd_ps(x[i], factor, factor);
  }
  for (int i = 0; i < 12; ++i) asm volatile("" : : "v"(x[i]));
}

// Seconds of one run of fn(thread) on all threads.
double seconds_of(int n_threads, const std::function<void(int64_t)>& fn) {
  const auto start = std::chrono::steady_clock::now();
  parallel_for(n_threads, fn);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Of the fastest of five.
double fastest(int n_threads, const std::function<void(int64_t)>& fn) {
  double best = 1e9;
  for (int run = 0; run < 5; ++run) best = std::min(best, seconds_of(n_threads, fn));
  return best;
}

bool has_chains(Isa isa) {
  return isa != Isa::kScalar && kernels_for(isa) != nullptr;
}

void fma_chains(Isa isa, int64_t steps) {
  isa == Isa::kAvx512 ? fma_chains_avx512(steps) : fma_chains_avx2(steps);
}

double chains_gflop(Isa isa, int64_t steps, int n_threads) {
  return 2e-9 * 12 * (isa == Isa::kAvx512 ? 16 : 8) * static_cast<double>(steps) * n_threads;
}

// Reads n bytes in four streams, each prefetched far ahead: the hardware alone keeps too few lines
// in flight to reach the memory's limit from two cores.
__attribute__((target("avx2"))) void read_streams(const std::byte* p, int64_t n) {
  constexpr int64_t kStreams = 4, kAhead = 2048;
  __m256i sums[kStreams] = {};
  const int64_t part = n / kStreams;
  for (int64_t i = 0; i < part; i += 64) {
#pragma GCC unroll 4
    for (int s = 0; s < kStreams; ++s) {
      const std::byte* line = p + s * part + i;
      _mm_prefetch(reinterpret_cast<const char*>(line + kAhead), _MM_HINT_T0);
      const auto* halves = reinterpret_cast<const __m256i*>(line);
      sums[s] = _mm256_xor_si256(sums[s], _mm256_load_si256(halves));
      sums[s] = _mm256_xor_si256(sums[s], _mm256_load_si256(halves + 1));
    }
  }
  for (const __m256i& sum : sums) asm volatile("" : : "x"(sum));
}

}  // namespace

double fma_peak_gflops(Isa isa, int n_threads) {
  if (!has_chains(isa)) return 0;
  constexpr int64_t kSteps = 2'000'000;
  return chains_gflop(isa, kSteps, n_threads) /
         fastest(n_threads, [&](int64_t) { fma_chains(isa, kSteps); });
}

double fma_gflops_now(Isa isa, int n_threads) {
  if (!has_chains(isa)) return 0;
  constexpr int64_t kSteps = 10'000'000;
  return chains_gflop(isa, kSteps, n_threads) /
         seconds_of(n_threads, [&](int64_t) { fma_chains(isa, kSteps); });
}

double read_gigabytes_per_s(int n_threads) {
  constexpr int64_t kBytes = int64_t{256} << 20;  // each thread; well beyond the caches
  AlignedBuffer memory(static_cast<size_t>(n_threads * kBytes));
  std::memset(memory.data(), 1, memory.size());
  const double seconds = fastest(
      n_threads, [&](int64_t thread) { read_streams(memory.data() + thread * kBytes, kBytes); });
  return 1e-9 * n_threads * static_cast<double>(kBytes) / seconds;
}

}  // namespace kv
