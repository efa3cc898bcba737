// Shared by the readers of block formats.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/kernels.h"

namespace kv {

inline float read_half(const std::byte* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  float value;
  kernels().from_f16(&bits, 1, &value);
  return value;
}

inline const uint8_t* as_bytes(const std::byte* bytes) {
  return reinterpret_cast<const uint8_t*>(bytes);
}

// level(code) for the nibbles of a block of 32: first the low halves, then the high ones.
template <typename Out, typename Level>
void spread_nibbles(const std::byte* codes, Out* out, Level level) {
  constexpr int kHalf = 16;
  for (int i = 0; i < kHalf; ++i) {
    const uint8_t byte = as_bytes(codes)[i];
    out[i] = level(byte & 15);
    out[i + kHalf] = level(byte >> 4);
  }
}

// level(code) for nibbles with a fifth bit; those come first, four bytes of them.
template <typename Out, typename Level>
void spread_five_bits(const std::byte* bits, Out* out, Level level) {
  uint32_t high;
  std::memcpy(&high, bits, sizeof(high));
  int codes[32];
  spread_nibbles(bits + sizeof(high), codes, [](int code) { return code; });
  for (int i = 0; i < 32; ++i) out[i] = level(codes[i] | static_cast<int>(high >> i & 1) << 4);
}

// The code of value i of run r of 32: two runs share 32 bytes.
inline int nibble(const uint8_t* codes, int run, int i) {
  return codes[run / 2 * 32 + i] >> (run % 2 * 4) & 15;
}

// Scale and minimum of a run of 32 values out of 12 bytes: runs 0 … 3 have the low six bits of bytes r
// and 4 + r; runs 4 … 7 the halves of byte 4 + r and, above them, the two bits that those leave free.
struct SixBitPair {
  int scale, minimum;
};
inline SixBitPair six_bit_pair(const uint8_t* packed, int run) {
  if (run < 4) return {packed[run] & 63, packed[4 + run] & 63};
  return {(packed[4 + run] & 15) | packed[run - 4] >> 6 << 4,
          packed[4 + run] >> 4 | packed[run] >> 6 << 4};
}

// The levels of iq4_nl and iq4_xs: denser around zero, as weights are.
inline constexpr std::array<float, 16> kIq4Levels = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                     1,    13,   25,  38,  53,  69,  89,  113};

}  // namespace kv
