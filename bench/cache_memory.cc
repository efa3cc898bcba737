// Resident memory of many cached sequences, codec by codec, beside the bytes that the cache counts.
//
//   cache_memory [SEQUENCES [ROWS]]      default 16 4096, in SmolLM2-135M's shape (30 layers, 3 KV
//   heads of 64)
//
// Each codec runs in a child process, so that no freed memory of another one is counted.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <vector>

#include "compress/registry.h"
#include "engine/kv_cache.h"

namespace {

constexpr double kMiB = 1048576.0;

double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  long total = 0, resident = 0;
  statm >> total >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / kMiB;
}

kv::ModelConfig smollm2_shape() {
  kv::ModelConfig c;
  c.n_layers = 30;
  c.n_heads = 9;
  c.n_kv_heads = 3;
  c.head_dim = c.rotary_dim = 64;
  return c;
}

void fill(kv::KvCache& cache, const std::vector<float>& rows, int n_rows) {
  for (int done = 0; done < n_rows; done += 64) {
    const int n = std::min(64, n_rows - done);
    for (int l = 0; l < cache.n_layers(); ++l) {
      cache.reserve(l, n);
      for (int h = 0; h < cache.n_kv_heads(); ++h)
        cache.append(l, h, rows.data(), rows.data(), cache.head_dim(), n);
    }
    cache.advance(n);
  }
}

void measure(const char* spec, int n_sequences, int n_rows) {
  const kv::ModelConfig config = smollm2_shape();
  const kv::CodecPtr codec = kv::parse_compressors(spec, "cache_memory").front().plan.codec;
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  std::vector<float> rows(64 * config.head_dim);
  for (float& v : rows) v = normal(generator);

  const double before = resident_mib();
  std::vector<kv::KvCache> caches;
  double in_use = 0, allocated = 0;
  for (int s = 0; s < n_sequences; ++s) {
    caches.emplace_back(config, codec);
    fill(caches.back(), rows, n_rows);
    in_use += static_cast<double>(caches.back().bytes_in_use()) / kMiB;
    allocated += static_cast<double>(caches.back().bytes_allocated()) / kMiB;
  }
  const double resident = resident_mib() - before;
  std::printf("%-6s %12.1f %12.1f %12.1f %10.3f\n", spec, in_use, allocated, resident,
              resident / in_use);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const int n_sequences = argc > 1 ? std::atoi(argv[1]) : 16,
            n_rows = argc > 2 ? std::atoi(argv[2]) : 4096;
  std::printf("%d sequences x %d rows\n%-6s %12s %12s %12s %10s\n", n_sequences, n_rows, "codec",
              "kv MiB", "alloc MiB", "resident MiB", "ratio");
  std::fflush(stdout);
  for (const char* spec : {"f32", "f16", "bf16", "int8", "int4", "int2"}) {
    const pid_t child = fork();
    if (child == 0) {
      measure(spec, n_sequences, n_rows);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) return 1;
  }
  return 0;
}
