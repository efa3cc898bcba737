// Codes of 8, 4 or 2 bits, packed into little-endian strings: code i in the bits i * bits … of the
// string, the first one in the lowest bits.
#pragma once

#include <cstdint>

namespace kv {

inline uint8_t get_code(const uint8_t* string, int index, int bits) {
  return static_cast<uint8_t>((string[index * bits / 8] >> (index * bits % 8)) & ((1 << bits) - 1));
}

// The codes around it stay.
inline void put_code(uint8_t* string, int index, int bits, uint8_t code) {
  uint8_t& byte = string[index * bits / 8];
  const int shift = index * bits % 8;
  const int mask = ((1 << bits) - 1) << shift;
  byte = static_cast<uint8_t>((byte & ~mask) | (code << shift));
}

}  // namespace kv
