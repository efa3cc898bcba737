// The formats with blocks of 256 values.
#include "engine/block_bytes.h"
#include "engine/dequantize.h"

namespace kv {
namespace {

constexpr int kBlock = 256;  // values
constexpr int kRuns = 8;
constexpr int kRun = 32;  // values of a run

// The code of value i in run r of a 2-bit part.
int two_bits(const uint8_t* codes, int run, int i) {
  return codes[run / 4 * kRun + i] >> (2 * (run % 4)) & 3;
}

// Six-bit scale s of the 16 in 12 bytes: low four bits in the halves of bytes 0 … 7, high two bits
// in bytes 8 … 11.
int six_bit_scale(const uint8_t* packed, int s) {
  const int low = packed[s % 8] >> (s / 8 * 4) & 15;
  return low | (packed[8 + s % 4] >> (s / 4 * 2) & 3) << 4;
}

// The common part of q4_k and q5_k. code(run, i): the code of a value.
template <typename Code>
void scale_pairs(const std::byte* block, float* out, Code code) {
  const float d = read_half(block), e = read_half(block + 2);
  for (int run = 0; run < kRuns; ++run, out += kRun) {
    const SixBitPair pair = six_bit_pair(as_bytes(block + 4), run);
    const float scale = d * static_cast<float>(pair.scale);
    const float minimum = e * static_cast<float>(pair.minimum);
    for (int i = 0; i < kRun; ++i) out[i] = scale * static_cast<float>(code(run, i)) - minimum;
  }
}

// count bytes hold `digits` ternary digits each; value k * count + i is digit k of byte i.
float* ternary(const uint8_t* bytes, int count, int digits, float d, float* out) {
  uint8_t power = 1;
  for (int k = 0; k < digits; ++k, power = static_cast<uint8_t>(power * 3)) {
    for (int i = 0; i < count; ++i) {
      const auto rest = static_cast<uint8_t>(bytes[i] * power);  // digits above k fall off the top
      *out++ = d * static_cast<float>((rest * 3 >> 8) - 1);
    }
  }
  return out;
}

}  // namespace

void dequantize_q2_k(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 84) {
    const uint8_t* pairs = as_bytes(blocks);
    const uint8_t* codes = as_bytes(blocks + 16);
    const float d = read_half(blocks + 80), e = read_half(blocks + 82);
    for (int run = 0; run < kRuns; ++run, out += kRun) {
      for (int i = 0; i < kRun; ++i) {
        const uint8_t pair = pairs[2 * run + i / 16];
        const float scale = d * static_cast<float>(pair & 15);
        const float minimum = e * static_cast<float>(pair >> 4);
        out[i] = scale * static_cast<float>(two_bits(codes, run, i)) - minimum;
      }
    }
  }
}

void dequantize_q3_k(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 110) {
    const uint8_t* third = as_bytes(blocks);
    const uint8_t* codes = as_bytes(blocks + 32);
    const uint8_t* scales = as_bytes(blocks + 96);
    const float d = read_half(blocks + 108);
    for (int run = 0; run < kRuns; ++run, out += kRun) {
      for (int i = 0; i < kRun; ++i) {
        const int code = two_bits(codes, run, i) | (third[i] >> run & 1) << 2;
        const float scale = d * static_cast<float>(six_bit_scale(scales, 2 * run + i / 16) - 32);
        out[i] = scale * static_cast<float>(code - 4);
      }
    }
  }
}

void dequantize_q4_k(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 144, out += kBlock) {
    const uint8_t* codes = as_bytes(blocks + 16);
    scale_pairs(blocks, out, [&](int run, int i) { return nibble(codes, run, i); });
  }
}

void dequantize_q5_k(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 176, out += kBlock) {
    const uint8_t* fifth = as_bytes(blocks + 16);
    const uint8_t* codes = as_bytes(blocks + 48);
    scale_pairs(blocks, out,
                [&](int run, int i) { return nibble(codes, run, i) | (fifth[i] >> run & 1) << 4; });
  }
}

void dequantize_q6_k(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 210) {
    const uint8_t* low = as_bytes(blocks);
    const uint8_t* high = as_bytes(blocks + 128);
    const auto* scales = reinterpret_cast<const int8_t*>(blocks + 192);
    const float d = read_half(blocks + 208);
    for (int run = 0; run < kRuns; ++run, out += kRun) {
      const uint8_t* shared = low + run / 4 * 64 + run % 2 * kRun;
      const int shift = run % 4 / 2 * 4;
      for (int i = 0; i < kRun; ++i) {
        const int code = (shared[i] >> shift & 15) | two_bits(high, run, i) << 4;
        const float scale = d * static_cast<float>(scales[2 * run + i / 16]);
        out[i] = scale * static_cast<float>(code - 32);
      }
    }
  }
}

void dequantize_iq4_xs(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 136) {
    const float d = read_half(blocks);
    uint16_t high;
    std::memcpy(&high, blocks + 2, sizeof(high));
    const uint8_t* low = as_bytes(blocks + 4);
    const uint8_t* codes = as_bytes(blocks + 8);
    for (int run = 0; run < kRuns; ++run, out += kRun, codes += kRun / 2) {
      const int scale = (low[run / 2] >> (run % 2 * 4) & 15) | (high >> (2 * run) & 3) << 4;
      const float step = d * static_cast<float>(scale - 32);
      for (int i = 0; i < kRun / 2; ++i) {
        out[i] = step * kIq4Levels[codes[i] & 15];
        out[i + kRun / 2] = step * kIq4Levels[codes[i] >> 4];
      }
    }
  }
}

void dequantize_tq1_0(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 54) {
    const uint8_t* digits = as_bytes(blocks);
    const float d = read_half(blocks + 52);
    out = ternary(digits, 32, 5, d, out);
    out = ternary(digits + 32, 16, 5, d, out);
    out = ternary(digits + 48, 4, 4, d, out);
  }
}

void dequantize_tq2_0(const std::byte* blocks, int64_t n, float* out) {
  for (const float* end = out + n; out < end; blocks += 66) {
    const uint8_t* codes = as_bytes(blocks);
    const float d = read_half(blocks + 64);
    for (int run = 0; run < kRuns; ++run, out += kRun) {
      for (int i = 0; i < kRun; ++i) out[i] = d * static_cast<float>(two_bits(codes, run, i) - 1);
    }
  }
}

}  // namespace kv
