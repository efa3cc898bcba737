// kvbench: every kernel of every instruction set, and the matrix products of SmolLM2-135M and
// Qwen2.5-0.5B.
//
//   kvbench --benchmark_filter=matmul --benchmark_repetitions=5      flags are Google Benchmark's
//   KVENGINE_ISA=avx2 kvbench --benchmark_filter=matmul              matmul runs on the table in
//   use
//
// The context printed first holds what this machine can do at that moment: multiply-adds per
// instruction set and reading from memory, both with all threads. Other programs on the machine
// lower both; compare only within one run. %limit is the share of the roofline that a benchmark
// reaches: the time that its operations at the peak, or its bytes at the speed of reading, would take.
#include <benchmark/benchmark.h>
#include <cblas.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/machine.h"
#include "bench/product_shapes.h"
#include "bench/random_inputs.h"
#include "kernels/kernels.h"
#include "kernels/matmul.h"
#include "kernels/matmul_int8.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

constexpr int kThreads = 2;
constexpr Isa kIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512};

// ----------------------------------------------------------------------------------------------
// counters

// What the machine can do with as many threads as a benchmark has.
struct Limits {
  double gflops = 0;     // 0: unknown
  double gigabytes = 0;  // a second; 0: the operands lie in a cache
};

// Rates, and the share of the time that the slower of the two limits alone would take.
void set_rates(benchmark::State& state, double flops, double bytes, const Limits& limits) {
  const auto iterations = static_cast<double>(state.iterations());
  using benchmark::Counter;
  if (flops > 0) state.counters["GFLOP/s"] = Counter(1e-9 * flops * iterations, Counter::kIsRate);
  if (bytes > 0) state.counters["GB/s"] = Counter(1e-9 * bytes * iterations, Counter::kIsRate);
  double seconds = 0;
  if (limits.gflops > 0) seconds = std::max(seconds, 1e-9 * flops / limits.gflops);
  if (limits.gigabytes > 0) seconds = std::max(seconds, 1e-9 * bytes / limits.gigabytes);
  if (seconds > 0) state.counters["%limit"] = Counter(100 * seconds * iterations, Counter::kIsRate);
}

// ----------------------------------------------------------------------------------------------
// single kernels

// One call on data that fits in L1 or L2: run(table), with its operations and the bytes that it
// reads and writes.
struct Micro {
  const char* name;
  double flops, bytes;
  std::function<void(const Kernels&)> run;
};

constexpr int kN = 4096;      // elements of a row kernel
constexpr int kHeadDim = 64;  // of a tile kernel
constexpr int kTileElements = kHeadDim * kTile;

// The operands of all micro benchmarks; shared, so that the closures stay small.
struct Operands {
  std::vector<float> x = random_floats(kN), y = random_floats(kN), out = random_floats(kN);
  std::vector<float> cos = random_floats(kN), sin = random_floats(kN);
  std::vector<uint16_t> halves = std::vector<uint16_t>(kN, 0x3c00);
  std::vector<uint8_t> codes = std::vector<uint8_t>(kN, 0x5a);
  std::vector<int8_t> int8_codes = std::vector<int8_t>(42 * 576, 77);
  std::vector<int32_t> int8_sums = std::vector<int32_t>(42 * 18, 32 * 77);
  std::vector<std::byte> int8_panel = std::vector<std::byte>(18 * kInt8GroupBytes, std::byte{0x2a});
  std::vector<std::byte> int4_panel = std::vector<std::byte>(18 * kInt4GroupBytes, std::byte{0x2a});
  float max = 0, sum = 1;
};

// A function in place, of the same inputs each time.
Micro function_micro(const std::shared_ptr<Operands>& o, const char* name,
                     void (*Kernels::*function)(float*, int64_t)) {
  return {name, 0, 8.0 * kN, [o, function](const Kernels& k) {
            k.scale(o->x.data(), 0.1f, kN, o->out.data());
            (k.*function)(o->out.data(), kN);
          }};
}

std::vector<Micro> row_micros(const std::shared_ptr<Operands>& o) {
  const double n = kN;
  return {
      {"rms_norm", 4 * n, 12 * n,
       [o](const Kernels& k) { k.rms_norm(o->x.data(), o->y.data(), kN, 1e-5f, o->out.data()); }},
      {"layer_norm", 6 * n, 16 * n,
       [o](const Kernels& k) {
         k.layer_norm(o->x.data(), o->y.data(), o->cos.data(), kN, 1e-5f, o->out.data());
       }},
      {"add", n, 12 * n, [o](const Kernels& k) { k.add(o->out.data(), o->y.data(), kN); }},
      {"silu_mul", 0, 12 * n,
       [o](const Kernels& k) { k.silu_mul(o->x.data(), o->y.data(), kN, o->out.data()); }},
      {"mul", n, 12 * n,
       [o](const Kernels& k) {
         k.scale(o->x.data(), 1.0f, kN, o->out.data());  // products of products would vanish
         k.mul(o->out.data(), o->y.data(), kN);
       }},
      function_micro(o, "tanh_inplace", &Kernels::tanh_inplace),
      function_micro(o, "gelu_tanh", &Kernels::gelu_tanh),
      function_micro(o, "gelu_erf", &Kernels::gelu_erf),
      function_micro(o, "exp_inplace", &Kernels::exp_inplace),
      {"softmax_block", 0, 8.0 * kAttnBlock,
       [o](const Kernels& k) { k.softmax_block(o->out.data(), kAttnBlock, &o->max, &o->sum); }},
      {"merge_blocks", 3.0 * kHeadDim, 12.0 * kHeadDim,
       [o](const Kernels& k) {
         o->sum = 1;
         k.merge_blocks(o->out.data(), &o->max, &o->sum, o->y.data(), 0.5f, 1.0f, kHeadDim);
       }},
      {"scale", n, 8 * n, [o](const Kernels& k) { k.scale(o->x.data(), 0.5f, kN, o->out.data()); }},
      {"rotate_row", 3.0 * kHeadDim, 12.0 * kHeadDim,
       [o](const Kernels& k) {
         k.rotate_row(o->out.data(), o->cos.data(), o->sin.data(), kHeadDim);
       }},
      {"to_f16", 0, 6 * n, [o](const Kernels& k) { k.to_f16(o->x.data(), kN, o->halves.data()); }},
      {"to_bf16", 0, 6 * n,
       [o](const Kernels& k) { k.to_bf16(o->x.data(), kN, o->halves.data()); }},
      {"from_f16", 0, 6 * n,
       [o](const Kernels& k) { k.from_f16(o->halves.data(), kN, o->out.data()); }},
      {"from_bf16", 0, 6 * n,
       [o](const Kernels& k) { k.from_bf16(o->halves.data(), kN, o->out.data()); }},
      {"log_sum_exp", 0, 4 * n,
       [o](const Kernels& k) { benchmark::DoNotOptimize(k.log_sum_exp(o->x.data(), kN)); }},
      {"argmax", 0, 4 * n,
       [o](const Kernels& k) { benchmark::DoNotOptimize(k.argmax(o->x.data(), kN)); }},
  };
}

// Bytes count the stored tile, not what is unpacked.
std::vector<Micro> tile_micros(const std::shared_ptr<Operands>& o) {
  const double n = kTileElements;
  std::vector<Micro> micros = {
      {"load_keys_f32", 3 * n, 4 * n,
       [o](const Kernels& k) {
         k.load_keys_f32(o->x.data(), kHeadDim, o->cos.data(), o->sin.data(), kHeadDim,
                         o->out.data());
       }},
      {"load_keys_f16", 3 * n, 2 * n,
       [o](const Kernels& k) {
         k.load_keys_f16(o->halves.data(), kHeadDim, o->cos.data(), o->sin.data(), kHeadDim,
                         o->out.data());
       }},
      {"load_keys_bf16", 3 * n, 2 * n,
       [o](const Kernels& k) {
         k.load_keys_bf16(o->halves.data(), kHeadDim, o->cos.data(), o->sin.data(), kHeadDim,
                          o->out.data());
       }},
      {"load_values_f32", 0, 4 * n,
       [o](const Kernels& k) { k.load_values_f32(o->x.data(), kTile, kHeadDim, o->out.data()); }},
      {"load_values_f16", 0, 2 * n,
       [o](const Kernels& k) {
         k.load_values_f16(o->halves.data(), kTile, kHeadDim, o->out.data());
       }},
      {"load_values_bf16", 0, 2 * n,
       [o](const Kernels& k) {
         k.load_values_bf16(o->halves.data(), kTile, kHeadDim, o->out.data());
       }},
  };
  static constexpr const char* kNames[][3] = {
      {"load_keys_int8", "load_keys_int8/mixed", "load_values_int8"},
      {"load_keys_int4", "load_keys_int4/mixed", "load_values_int4"},
      {"load_keys_int2", "load_keys_int2/mixed", "load_values_int2"}};
  for (int i = 0; i < 3; ++i) {
    const int bits = 8 >> i;
    micros.push_back({kNames[i][0], 5 * n, n * bits / 8, [o, bits](const Kernels& k) {
                        k.load_keys_int(bits, o->codes.data(), o->halves.data(), o->halves.data(),
                                        32, kHeadDim, 1, o->cos.data(), o->sin.data(), kHeadDim,
                                        o->out.data());
                      }});
    micros.push_back({kNames[i][1], 11 * n, n * bits / 8, [o, bits](const Kernels& k) {
                        k.load_keys_int(bits, o->codes.data(), o->halves.data(), o->halves.data(),
                                        32, kHeadDim, kHeadDim, o->cos.data(), o->sin.data(),
                                        kHeadDim, o->out.data());
                      }});
    micros.push_back({kNames[i][2], 2 * n, n * bits / 8, [o, bits](const Kernels& k) {
                        k.load_values_int(bits, o->codes.data(), o->halves.data(), o->halves.data(),
                                          32, kTile, kHeadDim, o->out.data());
                      }});
  }
  return micros;
}

// Products with one panel, as attention makes them: m query rows, k channels, 32 cache rows.
std::vector<Micro> gemm_micros(const std::shared_ptr<Operands>& o) {
  static constexpr const char* kNames[][3] = {{"gemm_f32/m:1", "gemm_f16/m:1", "gemm_bf16/m:1"},
                                              {"gemm_f32/m:3", "gemm_f16/m:3", "gemm_bf16/m:3"},
                                              {"gemm_f32/m:42", "gemm_f16/m:42", "gemm_bf16/m:42"}};
  static constexpr int kRows[] = {1, 3, 42};
  std::vector<Micro> micros;
  for (int i = 0; i < 3; ++i) {
    const int m = kRows[i];
    const double flops = 2.0 * m * kTileElements;
    micros.push_back({kNames[i][0], flops, 4.0 * kTileElements, [o, m](const Kernels& k) {
                        k.gemm_f32(o->x.data(), kHeadDim, m, kHeadDim, o->y.data(), kPanel,
                                   o->out.data(), kPanel, false);
                      }});
    micros.push_back({kNames[i][1], flops, 2.0 * kTileElements, [o, m](const Kernels& k) {
                        k.gemm_f16(o->x.data(), kHeadDim, m, kHeadDim, o->halves.data(), kPanel,
                                   o->out.data(), kPanel, false);
                      }});
    micros.push_back({kNames[i][2], flops, 2.0 * kTileElements, [o, m](const Kernels& k) {
                        k.gemm_bf16(o->x.data(), kHeadDim, m, kHeadDim, o->halves.data(), kPanel,
                                    o->out.data(), kPanel, false);
                      }});
  }
  return micros;
}

// The same of tiles that are unpacked, and keys rotated, on the way: what decoding does.
std::vector<Micro> fused_micros(const std::shared_ptr<Operands>& o) {
  constexpr double kRotation = 3.0 * kTileElements;
  static constexpr const char* kNames[][4] = {
      {"score_keys_f16/m:1", "score_keys_int8/m:1", "score_keys_int4/m:1", "weigh_values_f16/m:1"},
      {"score_keys_f16/m:3", "score_keys_int8/m:3", "score_keys_int4/m:3", "weigh_values_f16/m:3"}};
  std::vector<Micro> micros;
  for (int i = 0; i < 2; ++i) {
    const int m = 1 + 2 * i;
    const double flops = 2.0 * m * kTileElements;
    const auto product = [o, m] {
      return KeyProduct{o->x.data(), kHeadDim, m, o->out.data(), kTile};
    };
    micros.push_back({kNames[i][0], flops + kRotation, 2.0 * kTileElements, [=](const Kernels& k) {
                        k.score_keys_f16(o->halves.data(), kHeadDim, o->cos.data(), o->sin.data(),
                                         kHeadDim, product());
                      }});
    for (int j = 1; j <= 2; ++j) {
      const int bits = 16 >> j;
      micros.push_back({kNames[i][j], flops + kRotation + 2.0 * kTileElements,
                        bits / 8.0 * kTileElements, [=](const Kernels& k) {
                          k.score_keys_int(bits, o->codes.data(), o->halves.data(),
                                           o->halves.data(), 32, kHeadDim, o->cos.data(),
                                           o->sin.data(), kHeadDim, product());
                        }});
    }
    micros.push_back({kNames[i][3], flops, 2.0 * kTileElements, [=](const Kernels& k) {
                        k.weigh_values_f16(o->halves.data(), kTile, kHeadDim,
                                           {o->x.data(), kTile, m, o->out.data(), false});
                      }});
  }
  return micros;
}

// The products of eight-bit activations with one panel of 576 inputs.
std::vector<Micro> int8_micros(const std::shared_ptr<Operands>& o) {
  constexpr int kGroups = 18, kInputs = kGroups * kInt8Group;
  static constexpr std::pair<const char*, int> kNames[] = {
      {"gemm_int8/m:1", 1}, {"gemm_int8/m:6", 6}, {"gemm_int8/m:42", 42}};
  std::vector<Micro> micros = {{"to_int8", 0, 5.0 * kInputs, [o](const Kernels& k) {
                                  k.to_int8(o->x.data(), kInputs, o->int8_codes.data(),
                                            o->out.data(), o->int8_sums.data());
                                }}};
  for (const auto& [name, m] : kNames) {
    micros.push_back({name, 2.0 * m * kInputs * kPanel, double{kGroups * kInt8GroupBytes},
                      [o, m = m](const Kernels& k) {
                        k.gemm_int8(o->int8_codes.data(), o->x.data(), o->int8_sums.data(), m,
                                    kGroups, o->int8_panel.data(), o->out.data(), kPanel);
                      }});
  }
  static constexpr std::pair<const char*, int> kNamesOfFour[] = {
      {"gemm_int4/m:1", 1}, {"gemm_int4/m:6", 6}, {"gemm_int4/m:42", 42}};
  for (const auto& [name, m] : kNamesOfFour) {
    micros.push_back({name, 2.0 * m * kInputs * kPanel, double{kGroups * kInt4GroupBytes},
                      [o, m = m](const Kernels& k) {
                        k.gemm_int4(o->int8_codes.data(), o->x.data(), o->int8_sums.data(), m,
                                    kGroups, o->int4_panel.data(), o->out.data(), kPanel);
                      }});
  }
  return micros;
}

void register_micros() {
  double one_thread_peak[std::size(kIsas)];
  for (Isa isa : kIsas) one_thread_peak[static_cast<int>(isa)] = fma_peak_gflops(isa, 1);
  const auto operands = std::make_shared<Operands>();
  for (const auto& make : {row_micros, tile_micros, gemm_micros, fused_micros, int8_micros}) {
    for (const Micro& micro : make(operands)) {
      for (Isa isa : kIsas) {
        const Kernels* table = kernels_for(isa);
        if (table == nullptr) continue;
        const std::string name = fmt::format("{}/{}", micro.name, isa_name(isa));
        const double peak = one_thread_peak[static_cast<int>(isa)];
        benchmark::RegisterBenchmark(name.c_str(), [micro, table, peak](benchmark::State& state) {
          for (auto _ : state) {
            micro.run(*table);
            benchmark::ClobberMemory();
          }
          set_rates(state, micro.flops, micro.bytes, {peak, 0});
        });
      }
    }
  }
}

// ----------------------------------------------------------------------------------------------
// products

// Matrices enough that few rows find them in memory, not in a cache, as a decoded token does.
int n_copies(int m, size_t bytes) {
  constexpr size_t kBeyondCaches = size_t{160} << 20;
  return m > 16 ? 1 : static_cast<int>(std::max<size_t>(1, kBeyondCaches / bytes));
}

// Of few rows the weights come from memory; those of many rows are served from a cache.
Limits product_limits(const Limits& machine, int m) {
  return {machine.gflops, m > 16 ? 0 : machine.gigabytes};
}

void run_matmul(benchmark::State& state, ProductShape s, int m, DType dtype,
                const Limits& machine) {
  std::vector<PackedMatrix> matrices(1);
  matrices[0] = PackedMatrix(s.n_out, s.n_in, dtype);
  const auto weights = random_floats(static_cast<int64_t>(s.n_out) * s.n_in);
  std::vector<uint16_t> narrow(weights.size());
  kernels().to_bf16(weights.data(), static_cast<int64_t>(weights.size()), narrow.data());
  matrices.resize(static_cast<size_t>(n_copies(m, matrices[0].bytes())));
  for (PackedMatrix& w : matrices) {
    w = PackedMatrix(s.n_out, s.n_in, dtype);
    const void* source = dtype == DType::kF32 ? static_cast<const void*>(weights.data())
                                              : static_cast<const void*>(narrow.data());
    w.pack_rows(source, 0, s.n_out);
  }
  const auto x = random_floats(static_cast<int64_t>(m) * s.n_in);
  std::vector<float> y(static_cast<size_t>(m) * s.n_out);
  size_t next = 0;
  for (auto _ : state) {
    matmul(x.data(), s.n_in, m, matrices[next], nullptr, y.data(), s.n_out);
    next = (next + 1) % matrices.size();
    benchmark::ClobberMemory();
  }
  set_rates(state, 2.0 * m * s.n_in * s.n_out, static_cast<double>(matrices[0].bytes()),
            product_limits(machine, m));
}

void run_matmul_int8(benchmark::State& state, ProductShape s, int m, const Limits& machine) {
  const auto weights = random_floats(static_cast<int64_t>(s.n_out) * s.n_in);
  Int8Matrix first(s.n_out, s.n_in);
  std::vector<Int8Matrix> matrices(static_cast<size_t>(n_copies(m, first.bytes())));
  for (Int8Matrix& w : matrices) {
    w = Int8Matrix(s.n_out, s.n_in);
    if (!w.pack_rows(weights.data(), 0, s.n_out)) state.SkipWithError("weights out of range");
  }
  const auto x = random_floats(static_cast<int64_t>(m) * s.n_in);
  std::vector<float> y(static_cast<size_t>(m) * s.n_out);
  size_t next = 0;
  for (auto _ : state) {
    matmul(x.data(), s.n_in, m, matrices[next], nullptr, y.data(), s.n_out);
    next = (next + 1) % matrices.size();
    benchmark::ClobberMemory();
  }
  set_rates(state, 2.0 * m * s.n_in * s.n_out, static_cast<double>(first.bytes()),
            {0, product_limits(machine, m).gigabytes});
}

// Row-major float weights, outputs split between the threads; OpenBLAS itself runs on one.
void run_openblas(benchmark::State& state, ProductShape s, int m, const Limits& machine) {
  const auto w = random_floats(static_cast<int64_t>(s.n_out) * s.n_in);
  const size_t bytes = w.size() * sizeof(float);
  const std::vector<std::vector<float>> matrices(static_cast<size_t>(n_copies(m, bytes)), w);
  const auto x = random_floats(static_cast<int64_t>(m) * s.n_in);
  std::vector<float> y(static_cast<size_t>(m) * s.n_out);
  size_t next = 0;
  const int part = s.n_out / kThreads;
  for (auto _ : state) {
    const float* weights = matrices[next].data();
    parallel_for(kThreads, [&](int64_t i) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, part, s.n_in, 1.0f, x.data(), s.n_in,
                  weights + i * part * s.n_in, s.n_in, 0.0f, y.data() + i * part, s.n_out);
    });
    next = (next + 1) % matrices.size();
    benchmark::ClobberMemory();
  }
  set_rates(state, 2.0 * m * s.n_in * s.n_out, static_cast<double>(bytes),
            product_limits(machine, m));
}

void register_product(ProductShape s, int m, const Limits& machine) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const std::string name =
        fmt::format("matmul/{}x{}/rows:{}/{}", s.n_in, s.n_out, m, dtype_name(dtype));
    benchmark::RegisterBenchmark(name.c_str(), run_matmul, s, m, dtype, machine)->UseRealTime();
  }
  const std::string int8 = fmt::format("matmul/{}x{}/rows:{}/int8", s.n_in, s.n_out, m);
  benchmark::RegisterBenchmark(int8.c_str(), run_matmul_int8, s, m, machine)->UseRealTime();
  const std::string name = fmt::format("openblas/{}x{}/rows:{}/f32", s.n_in, s.n_out, m);
  benchmark::RegisterBenchmark(name.c_str(), run_openblas, s, m, machine)->UseRealTime();
}

void register_products(const Limits& machine) {
  for (const ModelShapes& model : model_shapes()) {
    for (const ProductShape& shape : model.shapes) {
      for (int m : {1, 4, 16, 512}) register_product(shape, m, machine);
    }
  }
}

void run_empty_parallel_for(benchmark::State& state) {
  for (auto _ : state) parallel_for(kThreads, [](int64_t i) { benchmark::DoNotOptimize(i); });
}

// Measures the machine, says so, and returns what the table in use can reach with all threads.
Limits add_context() {
  benchmark::AddCustomContext("threads", std::to_string(kThreads));
  benchmark::AddCustomContext("isa in use", isa_name(isa()));
  Limits machine;
  for (Isa each : {Isa::kAvx2, Isa::kAvx512}) {
    const double peak = fma_peak_gflops(each, kThreads);
    if (peak == 0) continue;
    benchmark::AddCustomContext(fmt::format("peak of fma {}", isa_name(each)),
                                fmt::format("{:.1f} GFLOP/s", peak));
    if (each == isa()) machine.gflops = peak;
  }
  machine.gigabytes = read_gigabytes_per_s(kThreads);
  benchmark::AddCustomContext("peak of reading", fmt::format("{:.1f} GB/s", machine.gigabytes));
  return machine;
}

}  // namespace
}  // namespace kv

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  kv::set_threads(kv::kThreads);
  openblas_set_num_threads(1);
  const kv::Limits machine = kv::add_context();
  benchmark::RegisterBenchmark("parallel_for/empty", kv::run_empty_parallel_for)->UseRealTime();
  kv::register_products(machine);
  kv::register_micros();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
