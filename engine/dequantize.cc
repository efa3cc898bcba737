#include "engine/dequantize.h"

#include <algorithm>
#include <cmath>

#include "engine/block_bytes.h"

namespace kv {
namespace {

constexpr int kBlock = 32;  // values

// 16-bit values through an aligned buffer.
template <typename Widen>
void widen_16(const std::byte* values, int64_t n, float* out, Widen widen) {
  uint16_t buffer[256];
  for (int64_t at = 0; at < n; at += 256) {
    const int64_t count = std::min<int64_t>(256, n - at);
    std::memcpy(buffer, values + at * 2, static_cast<size_t>(count) * 2);
    widen(buffer, count, out + at);
  }
}

}  // namespace

void widen_f32(const std::byte* values, int64_t n, float* out) {
  std::memcpy(out, values, static_cast<size_t>(n) * sizeof(float));
}

void widen_f16(const std::byte* values, int64_t n, float* out) {
  widen_16(values, n, out, kernels().from_f16);
}

void widen_bf16(const std::byte* values, int64_t n, float* out) {
  widen_16(values, n, out, kernels().from_bf16);
}

void round_f64(const std::byte* values, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    double value;
    std::memcpy(&value, values + i * 8, sizeof(value));
    out[i] = static_cast<float>(value);
  }
}

void dequantize_q4_0(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 18, out += kBlock) {
    const float d = read_half(blocks);
    spread_nibbles(blocks + 2, out, [d](int code) { return d * static_cast<float>(code - 8); });
  }
}

void dequantize_q4_1(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 20, out += kBlock) {
    const float d = read_half(blocks), m = read_half(blocks + 2);
    spread_nibbles(blocks + 4, out, [d, m](int code) { return d * static_cast<float>(code) + m; });
  }
}

void dequantize_q5_0(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 22, out += kBlock) {
    const float d = read_half(blocks);
    spread_five_bits(blocks + 2, out, [d](int code) { return d * static_cast<float>(code - 16); });
  }
}

void dequantize_q5_1(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 24, out += kBlock) {
    const float d = read_half(blocks), m = read_half(blocks + 2);
    spread_five_bits(blocks + 4, out,
                     [d, m](int code) { return d * static_cast<float>(code) + m; });
  }
}

void dequantize_q8_0(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 34, out += kBlock) {
    const float d = read_half(blocks);
    const auto* codes = reinterpret_cast<const int8_t*>(blocks + 2);
    for (int i = 0; i < kBlock; ++i) out[i] = d * static_cast<float>(codes[i]);
  }
}

void dequantize_iq4_nl(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 18, out += kBlock) {
    const float d = read_half(blocks);
    spread_nibbles(blocks + 2, out, [d](int code) { return d * kIq4Levels[code]; });
  }
}

void dequantize_mxfp4(const std::byte* blocks, int64_t n, float* out) {
  static constexpr float kLevels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  for (const float* end = out + n; out < end; blocks += 17, out += kBlock) {
    const float scale = std::ldexp(1.0f, as_bytes(blocks)[0] - 128);
    spread_nibbles(blocks + 1, out, [&](int code) { return scale * kLevels[code]; });
  }
}

}  // namespace kv
