// Codes of 1 to 8 bits, packed into little-endian strings: code i in the bits i * bits … of the
// string, the first one in the lowest bits.
#pragma once

#include <cstdint>

namespace kv {

inline uint8_t get_code(const uint8_t* string, int index, int bits) {
  const uint8_t* at = string + index * bits / 8;
  const int shift = index * bits % 8;
  const int over = shift + bits > 8 ? at[1] << 8 : 0;  // codes of 3 bits reach over bytes
  return static_cast<uint8_t>(((at[0] | over) >> shift) & ((1 << bits) - 1));
}

// The codes around it stay.
inline void put_code(uint8_t* string, int index, int bits, uint8_t code) {
  uint8_t* at = string + index * bits / 8;
  const int shift = index * bits % 8, mask = ((1 << bits) - 1) << shift, placed = code << shift;
  at[0] = static_cast<uint8_t>((at[0] & ~mask) | placed);
  if (shift + bits > 8) at[1] = static_cast<uint8_t>((at[1] & ~(mask >> 8)) | placed >> 8);
}

}  // namespace kv
