// Runs a kernel with the table of every instruction set that this CPU has and compares bits with
// the scalar one.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "tests/kernels/emulated_tables.h"

namespace kv::test {

// n elements at a chosen misalignment, between two strips of 0xff bytes: NaN in every float format.
template <typename T>
class Guarded {
 public:
  Guarded(int64_t n, int offset) : n_(n), first_(kStrip + offset) {
    memory_.resize(static_cast<size_t>(first_ + n + kStrip));
    std::memset(memory_.data(), 0xff, memory_.size() * sizeof(T));
  }
  Guarded(const std::vector<T>& values, int offset)
      : Guarded(static_cast<int64_t>(values.size()), offset) {
    if (!values.empty()) std::memcpy(data(), values.data(), values.size() * sizeof(T));
  }
  T* data() { return memory_.data() + first_; }
  std::vector<T> values() const {
    return {memory_.begin() + first_, memory_.begin() + first_ + n_};
  }
  // Whether the strips are as they were.
  bool intact() const {
    const auto* bytes = reinterpret_cast<const unsigned char*>(memory_.data());
    const size_t begin = static_cast<size_t>(first_) * sizeof(T);
    const size_t end = begin + static_cast<size_t>(n_) * sizeof(T);
    for (size_t i = 0; i < memory_.size() * sizeof(T); ++i) {
      if ((i < begin || i >= end) && bytes[i] != 0xff) return false;
    }
    return true;
  }

 private:
  static constexpr int64_t kStrip = 64;
  int64_t n_, first_;
  std::vector<T> memory_;
};

// What a kernel wrote, as bits.
struct Output {
  std::vector<uint64_t> bits;
  bool intact = true;

  void add(float x) { bits.push_back(std::bit_cast<uint32_t>(x)); }
  void add(uint16_t x) { bits.push_back(x); }
  void add(int8_t x) { bits.push_back(static_cast<uint8_t>(x)); }
  void add(int32_t x) { bits.push_back(static_cast<uint32_t>(x)); }
  void add(double x) { bits.push_back(std::bit_cast<uint64_t>(x)); }
  void add(int64_t x) { bits.push_back(static_cast<uint64_t>(x)); }
  template <typename T>
  void add(const Guarded<T>& buffer) {
    for (T x : buffer.values()) add(x);
    intact = intact && buffer.intact();
  }
};

// One entry for each kernel: same_bits_test.cc runs them and wants as many as the dispatch table
// has slots.
struct KernelCheck {
  const char* kernel;
  void (*run)();
};
std::vector<KernelCheck> row_checks();   // same_bits_test.cc
std::vector<KernelCheck> tile_checks();  // same_bits_tiles_test.cc

struct NamedTable {
  std::string isa;
  const Kernels* kernels;
};

// Every table that this CPU can run; those for AVX-512 emulated as well.
inline std::vector<NamedTable> all_tables() {
  std::vector<NamedTable> tables = {{"scalar", kernels_for(Isa::kScalar)},
                                    {"avx2", kernels_for(Isa::kAvx2)},
                                    {"avx512", kernels_for(Isa::kAvx512)},
                                    {"avx512 without vnni", kernels_without_vnni()}};
  if (kernels_for(Isa::kAvx2) != nullptr) {
    tables.push_back({"avx512, emulated", &emulated_avx512_vnni::kTable});
    tables.push_back({"avx512 without vnni, emulated", &emulated_avx512::kTable});
  }
  std::erase_if(tables, [](const NamedTable& table) { return table.kernels == nullptr; });
  return tables;
}

// run(table) calls one kernel on fresh inputs and returns its Output. parameters: the whole tuple,
// for the message.
template <typename Run>
void expect_same_bits(const std::string& kernel, const std::string& parameters, const Run& run) {
  const Output expected = run(*kernels_for(Isa::kScalar));
  EXPECT_TRUE(expected.intact) << kernel << " scalar wrote outside its buffer: " << parameters;
  for (const auto& [isa, table] : all_tables()) {
    const Output got = run(*table);
    EXPECT_TRUE(got.intact) << kernel << " " << isa << " wrote outside its buffer: " << parameters;
    ASSERT_EQ(got.bits.size(), expected.bits.size());
    for (size_t i = 0; i < got.bits.size(); ++i) {
      ASSERT_EQ(got.bits[i], expected.bits[i])
          << kernel << " " << isa << " (" << parameters << "): output " << i << " is 0x" << std::hex
          << got.bits[i] << ", scalar gives 0x" << expected.bits[i];
    }
  }
}

// ----------------------------------------------------------------------------------------------
// inputs

using Rng = std::mt19937;

// Magnitudes over many binades, both signs, now and then an exact zero of either sign.
inline std::vector<float> random_floats(Rng& rng, int64_t n, int lowest_exponent = -6,
                                        int highest_exponent = 3) {
  std::uniform_real_distribution<float> mantissa(-1.0f, 1.0f);
  std::uniform_int_distribution<int> exponent(lowest_exponent, highest_exponent);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) {
    v = std::ldexp(mantissa(rng), exponent(rng));
    if (rng() % 23 == 0) v = rng() % 2 == 0 ? 0.0f : -0.0f;
  }
  return x;
}

inline std::vector<uint8_t> random_bytes(Rng& rng, int64_t n) {
  std::vector<uint8_t> x(static_cast<size_t>(n));
  for (uint8_t& v : x) v = static_cast<uint8_t>(rng());
  return x;
}

// Finite halves of moderate size, subnormals among them.
inline std::vector<uint16_t> random_f16(Rng& rng, int64_t n) {
  std::vector<uint16_t> x(static_cast<size_t>(n));
  for (uint16_t& v : x) v = static_cast<uint16_t>((rng() & 0x8000) | (rng() % 0x4400));
  return x;
}

inline std::vector<uint16_t> random_bf16(Rng& rng, int64_t n) {
  std::vector<uint16_t> x(static_cast<size_t>(n));
  for (uint16_t& v : x) v = static_cast<uint16_t>((rng() & 0x8000) | (0x3c00 + rng() % 0x480));
  return x;
}

// "m=3 k=17 ..." from name, value, name, value.
inline std::string describe() {
  return "";
}
template <typename T, typename... Rest>
std::string describe(const char* name, T value, const Rest&... rest) {
  return std::string(name) + "=" + std::to_string(value) + " " + describe(rest...);
}

inline const int64_t kSizes[] = {0,  1,  2,  7,  8,  9,   15,  16,   17,   31,  32,
                                 33, 47, 63, 64, 97, 127, 128, 1000, 1009, 4099};
inline const int kOffsets[] = {0, 1, 5};

}  // namespace kv::test
