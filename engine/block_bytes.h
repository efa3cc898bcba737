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
