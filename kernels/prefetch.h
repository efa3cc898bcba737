// A hint to the CPU.
#pragma once

#include <cstddef>

namespace kv {

// n bytes from p on are about to be read; p may be null. Always inlined, since GCC may leave out calls of functions
// that only prefetch.
__attribute__((always_inline)) inline void prefetch(const void* p, size_t n) {
  constexpr size_t kCacheLine = 64;
  for (size_t i = 0; p != nullptr && i < n; i += kCacheLine)
    __builtin_prefetch(static_cast<const char*>(p) + i);
}

}  // namespace kv
