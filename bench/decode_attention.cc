// Decode attention over cold rows: one query token against sequences that are cycled through, so that
// every row comes from memory. For each codec: time, GB/s, and the share of the roofline,
// max(bytes / read bandwidth, operations / multiply-add peak) / time.
//
//   decode_attention [MiB [ROWS [SPEC ...]]]      default 1024 MiB cycled, 4096 rows, f32 f16 int8 int4 int2
//
// The machine's two limits are measured first, with all threads. One codec at a time is in memory; of
// kTurns passes over it the median is printed, with the ratio to f16's.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bench/machine.h"
#include "bench/spread.h"
#include "compress/registry.h"
#include "engine/attention.h"
#include "engine/error.h"
#include "kernels/parallel.h"

namespace {

using namespace kv;

constexpr int kTurns = 3;
constexpr int kKvHeads = 4;

struct Shape {
  int head_dim, group;  // query heads of one KV head
};
constexpr Shape kShapes[] = {{64, 3}, {128, 1}};

ModelConfig config_of(const Shape& shape) {
  ModelConfig config;
  config.n_layers = 1;
  config.n_kv_heads = kKvHeads;
  config.n_heads = kKvHeads * shape.group;
  config.head_dim = config.rotary_dim = shape.head_dim;
  return config;
}

KvCache random_cache(const ModelConfig& config, const CodecPtr& codec, int n_rows) {
  constexpr int kRowsAtOnce = 256;
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  std::vector<float> rows(static_cast<size_t>(kRowsAtOnce) * config.head_dim);
  for (float& value : rows) value = normal(generator);
  KvCache cache(config, codec);
  for (int done = 0; done < n_rows; done += kRowsAtOnce) {
    const int n = std::min(kRowsAtOnce, n_rows - done);
    cache.reserve(0, n);
    for (int h = 0; h < kKvHeads; ++h)
      cache.append(0, h, rows.data(), rows.data(), config.head_dim, n);
    cache.advance(n);
  }
  return cache;
}

// The same rows in pages of its own.
KvCache copy_of(const KvCache& source) {
  KvCache copy = source.fork();
  for (int h = 0; h < kKvHeads; ++h) {
    for (PageRef& page : copy.head(0, h).pages) page.writable_keys();
  }
  return copy;
}

// One codec's sequences and the times of passes over all of them.
class Sequences {
 public:
  Sequences(const ModelConfig& config, const RopeTable& rope, const std::string& spec, int n_rows,
            size_t cycled_bytes)
      : config_(config), rope_(rope), n_rows_(n_rows) {
    const CompressionPlan plan = parse_compressors(spec, "decode_attention").front().plan;
    KvCache first = random_cache(config, plan.codec ? plan.codec : plain_codec("f16"), n_rows);
    bytes_each_ = first.bytes_in_use();
    const size_t n = std::max<size_t>(1, (cycled_bytes + bytes_each_ - 1) / bytes_each_);
    while (caches_.size() + 1 < n) caches_.push_back(copy_of(first));
    caches_.push_back(std::move(first));
    const size_t width = static_cast<size_t>(config.n_heads) * config.head_dim;
    queries_.assign(width, 0.1f);
    out_.resize(width);
  }

  // Seconds of one sequence's attention, averaged over a pass through all of them.
  double pass() {
    const auto width = static_cast<int64_t>(queries_.size());
    const auto start = std::chrono::steady_clock::now();
    for (const KvCache& cache : caches_) {
      const AttentionInput input{.cache = &cache,
                                 .queries = queries_.data(),
                                 .stride = width,
                                 .n_tokens = 1,
                                 .first_token = n_rows_ - 1,
                                 .out = out_.data(),
                                 .out_stride = width,
                                 .scale = config_.query_scale()};
      attend(config_, rope_, 0, {&input, 1});
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    return seconds.count() / static_cast<double>(caches_.size());
  }

  double bytes_each() const { return static_cast<double>(bytes_each_); }
  double flops_each() const {  // q k^T and the weighted sum of values
    return 4.0 * n_rows_ * config_.n_heads * config_.head_dim;
  }

 private:
  const ModelConfig& config_;
  const RopeTable& rope_;
  int n_rows_;
  size_t bytes_each_ = 0;
  std::vector<KvCache> caches_;
  std::vector<float> queries_, out_;
};

void measure(const Shape& shape, const std::vector<std::string>& specs, int n_rows, size_t bytes,
             double gflops, double gigabytes) {
  const ModelConfig config = config_of(shape);
  const RopeTable rope(config.rope, config.rotary_dim, n_rows);
  std::vector<Spread> seconds;
  std::vector<double> limits, sizes;
  for (const std::string& spec : specs) {  // one codec at a time is in memory
    Sequences sequences(config, rope, spec, n_rows, bytes);
    sequences.pass();  // warms the workspaces, not the rows
    std::vector<double> passes;
    for (int turn = 0; turn < kTurns; ++turn) passes.push_back(sequences.pass());
    seconds.push_back(spread_of(passes));
    sizes.push_back(sequences.bytes_each());
    limits.push_back(1e-9 * std::max(sequences.bytes_each() / gigabytes,
                                     gflops > 0 ? sequences.flops_each() / gflops : 0));
  }
  fmt::print("head size {}, {} query head(s) a KV head, {} rows\n", shape.head_dim, shape.group,
             n_rows);
  fmt::print("{:<24} {:>9} {:>17} {:>7} {:>9} {:>7}\n", "", "us", "fastest..slowest", "GB/s",
             "of limit", "to f16");
  const auto f16 = std::find(specs.begin(), specs.end(), "f16");
  for (size_t i = 0; i < specs.size(); ++i) {
    const auto [least, median, most] = seconds[i];
    const std::string ratio =
        f16 == specs.end() ? ""
                           : fmt::format("{:.2f}", seconds[f16 - specs.begin()].median / median);
    fmt::print("{:<24} {:>9.1f} {:>8.1f}..{:<7.1f} {:>7.1f} {:>8.0f}% {:>7}\n", specs[i],
               1e6 * median, 1e6 * least, 1e6 * most, 1e-9 * sizes[i] / median,
               100 * limits[i] / median, ratio);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int mib = argc > 1 ? std::atoi(argv[1]) : 1024;
  const int n_rows = argc > 2 ? std::atoi(argv[2]) : 4096;
  if (mib < 1 || n_rows < 1) {
    fmt::print(stderr, "usage: decode_attention [MiB [ROWS [SPEC ...]]]\n");
    return 2;
  }
  std::vector<std::string> specs(argv + std::min(argc, 3), argv + argc);
  if (specs.empty()) specs = {"f32", "f16", "int8", "int4", "int2"};
  try {
    const int n_threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    set_threads(n_threads);
    const double gflops = fma_peak_gflops(isa(), n_threads);
    const double gigabytes = read_gigabytes_per_s(n_threads);
    fmt::print("{} threads, {}: {:.1f} GFLOP/s of multiply-adds, {:.1f} GB/s of reading\n",
               n_threads, isa_name(isa()), gflops, gigabytes);
    for (const Shape& shape : kShapes)
      measure(shape, specs, n_rows, static_cast<size_t>(mib) << 20, gflops, gigabytes);
  } catch (const Error& e) {
    fmt::print(stderr, "decode_attention: {}\n", e.what());
    return e.exit_status();
  }
  return 0;
}
