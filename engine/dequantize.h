// How model files store numbers -> float, bit for bit what the `gguf` package's dequantize gives.
// Values and blocks as the formats define them; little-endian, no alignment.
//
// n: values, a multiple of the block. Scales are IEEE half unless said otherwise, and come in the
// order in which the bytes lie. "nibbles": value i has the low half of byte i, value i + half the
// block the high half.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kv {

// ---- plain numbers ----

void widen_f32(const std::byte* values, int64_t n, float* out);
void widen_f16(const std::byte* values, int64_t n, float* out);
void widen_bf16(const std::byte* values, int64_t n, float* out);
void round_f64(const std::byte* values, int64_t n, float* out);  // to nearest

// ---- blocks of 32 values ----

// 18 bytes: scale d, nibbles. x = d * (code - 8)
void dequantize_q4_0(const std::byte* blocks, int64_t n, float* out);

// 20 bytes: scale d, minimum m, nibbles. x = d * code + m
void dequantize_q4_1(const std::byte* blocks, int64_t n, float* out);

// 22 bytes: scale d, 32 bits (bit i is value i's fifth), nibbles. x = d * (code - 16)
void dequantize_q5_0(const std::byte* blocks, int64_t n, float* out);

// 24 bytes: scale d, minimum m, 32 bits, nibbles as in q5_0. x = d * code + m
void dequantize_q5_1(const std::byte* blocks, int64_t n, float* out);

// 34 bytes: scale d, 32 signed bytes. x = d * code
void dequantize_q8_0(const std::byte* blocks, int64_t n, float* out);

// 18 bytes: scale d, nibbles that index a table of 16 unevenly spaced levels. x = d * level
void dequantize_iq4_nl(const std::byte* blocks, int64_t n, float* out);

// 17 bytes: one byte e, the scale 2^(e - 128); nibbles, each an E2M1 float whose doubled value is
// the level. x = scale * level
void dequantize_mxfp4(const std::byte* blocks, int64_t n, float* out);

// ---- blocks of 256 values ----
// Two halves of 128 values, each four runs of 32. "2-bit runs": 64 bytes, 32 for each half; run r of
// a half has the bits 2r, 2r + 1. "nibble runs": 128 bytes; runs 2s and 2s + 1 of all eight share
// bytes 32s … 32s + 31, low and high half. "6-bit pairs": 12 bytes with a scale s and a minimum m,
// 0 … 63, for each of the eight runs.

// 84 bytes: 16 bytes (for 16 values each: scale s low, minimum m high half), 2-bit runs, scale d,
// scale e. x = d * s * code - e * m
void dequantize_q2_k(const std::byte* blocks, int64_t n, float* out);

// 110 bytes: 32 bytes (bit r of byte i is the third bit of value i in run r of all eight), 2-bit
// runs, 12 bytes with 16 six-bit scales s (one for 16 values), scale d. x = d * (s - 32) * (code - 4)
void dequantize_q3_k(const std::byte* blocks, int64_t n, float* out);

// 144 bytes: scale d, scale e, 6-bit pairs, nibble runs. x = d * s * code - e * m
void dequantize_q4_k(const std::byte* blocks, int64_t n, float* out);

// 176 bytes: as q4_k, with 32 bytes before the nibble runs: bit r of byte i is the fifth bit of
// value i in run r.
void dequantize_q5_k(const std::byte* blocks, int64_t n, float* out);

// 210 bytes: 128 bytes with the low 4 bits, 64 bytes of 2-bit runs with the high bits, 16 signed
// scales s (one for 16 values), scale d. x = d * s * (code - 32). Low bits of runs 0 and 2 of a half
// share bytes 0 … 31 of its 64 (low and high half), runs 1 and 3 bytes 32 … 63.
void dequantize_q6_k(const std::byte* blocks, int64_t n, float* out);

// 136 bytes: scale d, 16 bits and 4 bytes (the high 2 and low 4 bits of a scale s for 32 values
// each), then nibbles for 32 values each, levels as in iq4_nl. x = d * (s - 32) * level
void dequantize_iq4_xs(const std::byte* blocks, int64_t n, float* out);

// 54 bytes: 52 bytes of ternary digits, each byte five of them as a fraction of 3^5 in 256 (the last
// four bytes hold four digits), scale d. Digit k of 32, 16, then 4 neighbouring bytes are
// neighbouring values. x = d * (digit - 1)
void dequantize_tq1_0(const std::byte* blocks, int64_t n, float* out);

// 66 bytes: 2-bit runs, scale d. x = d * (code - 1)
void dequantize_tq2_0(const std::byte* blocks, int64_t n, float* out);

}  // namespace kv
