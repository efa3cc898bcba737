// Sixteen virtual lanes: one zmm register, or two ymm. Included by one .cc file for each
// instruction set, which defines KV_ISA (avx2 or avx512: the namespace) before. Everything has
// internal linkage, so that no code of one instruction set can be linked into another's callers.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#if KV_VECTOR_BITS == 512
#include "kernels/vec_avx512.inc"
#else
#include "kernels/vec_avx2.inc"
#endif

namespace kv::KV_ISA {
namespace {

// A hint only: p may lie past the end of its buffer. Always inlined: GCC takes a function that does nothing but
// prefetch for one without effects and leaves out the calls that it has not inlined early.
__attribute__((always_inline)) inline void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}
__attribute__((always_inline)) inline void prefetch_to_l2(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}
// What lies `ahead` bytes behind p, in whatever allocation.
__attribute__((always_inline)) inline void prefetch_ahead(const void* p, int64_t ahead) {
  prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) +
                                         static_cast<uintptr_t>(ahead)));
}
// From a tile to the next; 0, which asks for what is being read, where there is none.
inline int64_t distance(const void* tile, const std::byte* next) {
  if (next == nullptr) return 0;
  return static_cast<int64_t>(reinterpret_cast<uintptr_t>(next) -
                              reinterpret_cast<uintptr_t>(tile));
}

// The sum and the maximum of the lanes; l + 8 first, then l + 4, l + 2, l + 1 (tree16).
inline float sum16(Vec v) {
  const __m256 by8 = _mm256_add_ps(lower(v), upper(v));
  const __m128 by4 = _mm_add_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
  const __m128 by2 = _mm_add_ps(by4, _mm_movehl_ps(by4, by4));
  return _mm_cvtss_f32(_mm_add_ss(by2, _mm_movehdup_ps(by2)));
}

inline float max16(Vec v) {
  const __m256 by8 = _mm256_max_ps(lower(v), upper(v));
  const __m128 by4 = _mm_max_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
  const __m128 by2 = _mm_max_ps(by4, _mm_movehl_ps(by4, by4));
  return _mm_cvtss_f32(_mm_max_ss(by2, _mm_movehdup_ps(by2)));
}

inline double sum16(DoubleVec v) {
  __m256d lo, hi;
  add_by8(v, &lo, &hi);
  const __m256d by4 = _mm256_add_pd(lo, hi);
  const __m128d by2 = _mm_add_pd(_mm256_castpd256_pd128(by4), _mm256_extractf128_pd(by4, 1));
  return _mm_cvtsd_f64(_mm_add_sd(by2, _mm_unpackhi_pd(by2, by2)));
}

inline float first(Vec v) {
  return _mm_cvtss_f32(_mm256_castps256_ps128(lower(v)));
}

// 16 halves in one ymm register.
inline __m256i load_half(const uint16_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline void store_half(uint16_t* p, __m256i v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
}

// The first n < 16 of them; no more than n are touched.
inline __m256i load_half_part(const uint16_t* p, int n) {
  alignas(32) uint16_t copy[16] = {};
  __builtin_memcpy(copy, p, static_cast<size_t>(n) * 2);
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(copy));
}
inline void store_half_part(uint16_t* p, int n, __m256i v) {
  alignas(32) uint16_t copy[16];
  _mm256_store_si256(reinterpret_cast<__m256i*>(copy), v);
  __builtin_memcpy(p, copy, static_cast<size_t>(n) * 2);
}

// Eight codes of kBits bits from kBits bytes, as floats.
template <int kBits>
inline __m256 load_codes_8(const uint8_t* p) {
  if constexpr (kBits == 8) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  } else {
    uint32_t word = 0;
    if constexpr (kBits == 3) {  // three bytes copied into a word would be waited for
      word = p[0] | p[1] << 8 | p[2] << 16;
    } else {
      __builtin_memcpy(&word, p, kBits);
    }
    const __m256i shifts = _mm256_setr_epi32(0, kBits, 2 * kBits, 3 * kBits, 4 * kBits, 5 * kBits,
                                             6 * kBits, 7 * kBits);
    const __m256i codes = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int32_t>(word)), shifts);
    return _mm256_cvtepi32_ps(_mm256_and_si256(codes, _mm256_set1_epi32((1 << kBits) - 1)));
  }
}

// For each lane of Words its byte among those of kWords codes, and what moves its code to the top of it.
template <int kBits>
struct CodeLanes {
  alignas(64) int16_t byte[kWords], factor[kWords];
  constexpr CodeLanes() : byte(), factor() {
    constexpr int kCodes = 8 / kBits;  // of a byte
    for (int l = 0; l < kWords; ++l) {
      byte[l] = static_cast<int16_t>(-256 | l / kCodes);  // the upper half is cleared
      factor[l] = static_cast<int16_t>(1 << (8 - kBits - l % kCodes * kBits));
    }
  }
};

// kWords codes of kBits bits, 8, 4 or 2, each times 2^(8 - kBits).
template <int kBits>
inline Words load_top_codes(const uint8_t* p) {
  if constexpr (kBits == 8) {
    return widen_bytes(p);
  } else {
    static constexpr CodeLanes<kBits> kCodes;
    const Words bytes = pick_bytes<kWords * kBits / 8>(p, load_words(kCodes.byte));
    return bytes * load_words(kCodes.factor) & int16_t{0x100 - (1 << (8 - kBits))};
  }
}

// The sum of 16 eight-bit codes.
inline int32_t sum_int8(__m128i codes) {
  const __m256i by2 = _mm256_madd_epi16(_mm256_cvtepi8_epi16(codes), _mm256_set1_epi16(1));
  const __m128i by4 = _mm_add_epi32(_mm256_castsi256_si128(by2), _mm256_extracti128_si256(by2, 1));
  const __m128i by8 = _mm_add_epi32(by4, _mm_shuffle_epi32(by4, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(by8, _mm_shuffle_epi32(by8, 0xb1)));
}

// Storage types of tiles and weights: load() widens 16 of them, load_part() the first n < 16, the
// rest being 0, strip() as many as a strip holds.
struct F32 {
  using Storage = float;
  static Vec load(const float* p) { return kv::KV_ISA::load(p); }
  static Vec load_part(const float* p, int n) { return kv::KV_ISA::load_part(p, n); }
  static Strip strip(const float* p) { return load_strip(p); }
};

struct F16 {
  using Storage = uint16_t;
  static Vec load(const uint16_t* p) { return load_f16(p); }
  static Vec load_part(const uint16_t* p, int n) { return widen_f16(load_half_part(p, n)); }
  static Strip strip(const uint16_t* p) { return strip_of_halves(p); }
};

struct BF16 {
  using Storage = uint16_t;
  static Vec load(const uint16_t* p) { return load_bf16(p); }
  static Vec load_part(const uint16_t* p, int n) { return widen_bf16(load_half_part(p, n)); }
  static Strip strip(const uint16_t* p) { return strip_of_bf16(p); }
};

}  // namespace
}  // namespace kv::KV_ISA
