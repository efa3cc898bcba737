#include "tasks/mersenne.h"

#include <algorithm>
#include <bit>

namespace kv {
namespace {

constexpr int kShift = 397;  // the m of the recurrence

uint32_t twist(uint32_t upper, uint32_t lower) {
  const uint32_t joined = (upper & 0x80000000u) | (lower & 0x7fffffffu);
  return (joined >> 1) ^ ((joined & 1u) ? 0x9908b0dfu : 0u);
}

}  // namespace

PythonRandom::PythonRandom(uint32_t seed) {
  // init_by_array with the key [seed]: first the plain seeding with a fixed number, then two passes
  // that mix the key in.
  seed_words(19650218u);
  uint32_t i = 1;
  const auto step = [&] {
    if (++i == kSize) {
      state_[0] = state_[kSize - 1];
      i = 1;
    }
  };
  const auto previous = [&] { return state_[i - 1] ^ (state_[i - 1] >> 30); };
  for (int k = 0; k < kSize; ++k) {
    state_[i] = (state_[i] ^ (previous() * 1664525u)) + seed;  // + key[j] + j, and j stays 0
    step();
  }
  for (int k = 0; k < kSize - 1; ++k) {
    state_[i] = (state_[i] ^ (previous() * 1566083941u)) - i;
    step();
  }
  state_[0] = 0x80000000u;
}

void PythonRandom::seed_words(uint32_t seed) {
  state_[0] = seed;
  for (uint32_t i = 1; i < kSize; ++i) {
    state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  }
}

void PythonRandom::refill() {
  for (int i = 0; i < kSize; ++i) {
    state_[i] = state_[(i + kShift) % kSize] ^ twist(state_[i], state_[(i + 1) % kSize]);
  }
  next_ = 0;
}

uint32_t PythonRandom::bits(int count) {
  if (next_ == kSize) refill();
  uint32_t y = state_[next_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  y ^= y >> 18;
  return y >> (32 - count);
}

uint32_t PythonRandom::below(uint32_t n) {
  const int count = std::max<int>(1, std::bit_width(n));
  uint32_t drawn = bits(count);
  while (drawn >= n) drawn = bits(count);
  return drawn;
}

std::string PythonRandom::digits(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += static_cast<char>('0' + below(10));
  return text;
}

}  // namespace kv
