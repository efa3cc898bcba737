// Block formats of GGUF files -> float. Values and blocks as the format defines them;
// little-endian, no alignment.
//
// n: values, a multiple of the block (32; 256 for q6_k). Scales are IEEE half.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kv {

// 18 bytes for 32 values: scale d, 16 bytes of codes; value i has the low half of byte i, value i +
// 16 the high half. x = d * (code - 8)
void dequantize_q4_0(const std::byte* blocks, int64_t n, float* out);

// 20 bytes for 32 values: scale d, minimum m, codes as in q4_0. x = d * code + m
void dequantize_q4_1(const std::byte* blocks, int64_t n, float* out);

// 34 bytes for 32 values: scale d, 32 signed bytes. x = d * code
void dequantize_q8_0(const std::byte* blocks, int64_t n, float* out);

// 210 bytes for 256 values: 128 bytes with the low 4 bits, 64 bytes with the high 2 bits, 16 signed
// scales (one for 16 values), scale d. x = d * scale * (code - 32). Each half of 128 values is four
// runs of 32: low bits of runs 0 and 2 share bytes 0 … 31 (low and high half), runs 1 and 3 bytes
// 32 … 63; run r has the bits 2r, 2r + 1 of the high byte.
void dequantize_q6_k(const std::byte* blocks, int64_t n, float* out);

}  // namespace kv
