// Random numbers to measure with, the same ones at every call.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace kv {

inline std::vector<int32_t> random_ids(int n, int vocab) {
  std::mt19937 generator(1);
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (int32_t& id : ids) id = static_cast<int32_t>(generator() % static_cast<uint32_t>(vocab));
  return ids;
}

// Of either sign, below 2; made quickly, since an output matrix has 136 million of them.
inline std::vector<float> random_floats(int64_t n) {
  uint32_t state = 1;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) {
    state = state * 1664525 + 1013904223;
    v = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-30f;
  }
  return x;
}

}  // namespace kv
