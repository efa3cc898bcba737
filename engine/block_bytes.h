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

// The levels of iq4_nl and iq4_xs: denser around zero, as weights are.
inline constexpr std::array<float, 16> kIq4Levels = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                     1,    13,   25,  38,  53,  69,  89,  113};

}  // namespace kv
