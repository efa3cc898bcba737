#include "engine/dequantize.h"

#include <cstring>

#include "kernels/kernels.h"

namespace kv {
namespace {

constexpr int kBlock = 32;        // values of a simple block
constexpr int kSuperBlock = 256;  // values of a q6_k block

float read_half(const std::byte* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  float value;
  kernels().from_f16(&bits, 1, &value);
  return value;
}

const uint8_t* as_bytes(const std::byte* bytes) {
  return reinterpret_cast<const uint8_t*>(bytes);
}

}  // namespace

void dequantize_q4_0(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t block = 0; block < n / kBlock; ++block, blocks += 18, out += kBlock) {
    const float d = read_half(blocks);
    const uint8_t* codes = as_bytes(blocks + 2);
    for (int i = 0; i < kBlock / 2; ++i) {
      out[i] = d * static_cast<float>((codes[i] & 15) - 8);
      out[i + kBlock / 2] = d * static_cast<float>((codes[i] >> 4) - 8);
    }
  }
}

void dequantize_q4_1(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t block = 0; block < n / kBlock; ++block, blocks += 20, out += kBlock) {
    const float d = read_half(blocks), m = read_half(blocks + 2);
    const uint8_t* codes = as_bytes(blocks + 4);
    for (int i = 0; i < kBlock / 2; ++i) {
      out[i] = d * static_cast<float>(codes[i] & 15) + m;
      out[i + kBlock / 2] = d * static_cast<float>(codes[i] >> 4) + m;
    }
  }
}

void dequantize_q8_0(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t block = 0; block < n / kBlock; ++block, blocks += 34, out += kBlock) {
    const float d = read_half(blocks);
    const auto* codes = reinterpret_cast<const int8_t*>(blocks + 2);
    for (int i = 0; i < kBlock; ++i) out[i] = d * static_cast<float>(codes[i]);
  }
}

void dequantize_q6_k(const std::byte* blocks, int64_t n, float* out) {
  for (int64_t block = 0; block < n / kSuperBlock; ++block, blocks += 210) {
    const uint8_t* low = as_bytes(blocks);
    const uint8_t* high = as_bytes(blocks + 128);
    const auto* scales = reinterpret_cast<const int8_t*>(blocks + 192);
    const float d = read_half(blocks + 208);
    for (int half = 0; half < 2; ++half, low += 64, high += 32, scales += 8) {
      for (int run = 0; run < 4; ++run, out += 32) {
        for (int i = 0; i < 32; ++i) {
          const int nibble = (low[(run % 2) * 32 + i] >> (run / 2 * 4)) & 15;
          const int code = nibble | ((high[i] >> (2 * run)) & 3) << 4;
          const float scale = d * static_cast<float>(scales[run * 2 + i / 16]);
          out[i] = scale * static_cast<float>(code - 32);
        }
      }
    }
  }
}

}  // namespace kv
