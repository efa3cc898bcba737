// The AVX-512 intrinsics that kernels/vec_avx512.inc uses, lane by lane in plain C++, so that the kernels of 16
// lanes are tested on CPUs without the instructions too. Include it before kernels/vec.h, in files that are compiled for
// AVX2 with FMA and F16C. What each does: Intel's Intrinsics Guide.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace kv::emulated {

// A register as lanes of one type; all of them convert into one another by a cast.
template <typename Lane>
struct Register {
  typedef Lane type __attribute__((vector_size(64)));
};
template <typename Lane>
using Lanes = typename Register<Lane>::type;

// The register whose lane l is make(l).
template <typename Lane, typename Make>
inline Lanes<Lane> each(const Make& make) {
  Lanes<Lane> made{};
  for (unsigned l = 0; l < 64 / sizeof(Lane); ++l) made[l] = make(l);
  return made;
}

inline bool has(uint64_t mask, unsigned lane) {
  return (mask >> lane & 1) != 0;
}

// ----------------------------------------------------------------------------------------------
// memory, constants, parts

inline __m512 loadu_ps(const void* p) {
  __m512 x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
inline __m512i loadu_si512(const void* p) {
  return (__m512i)loadu_ps(p);
}
inline void storeu_ps(void* p, __m512 x) {
  std::memcpy(p, &x, sizeof(x));
}
inline void storeu_si512(void* p, __m512i x) {
  std::memcpy(p, &x, sizeof(x));
}
inline __m512 mask_loadu_ps(__m512 fill, __mmask16 mask, const float* p) {
  return each<float>([&](unsigned l) { return has(mask, l) ? p[l] : fill[l]; });
}
inline void mask_storeu_ps(float* p, __mmask16 mask, __m512 x) {
  for (unsigned l = 0; l < 16; ++l) {
    if (has(mask, l)) p[l] = x[l];
  }
}
inline __m512 set1_ps(float x) {
  return each<float>([=](unsigned) { return x; });
}
inline __m512i set1_epi8(char x) {
  return (__m512i)each<int8_t>([=](unsigned) { return x; });
}
inline __m512i set1_epi16(int16_t x) {
  return (__m512i)each<int16_t>([=](unsigned) { return x; });
}
inline __m512i set1_epi32(int32_t x) {
  return (__m512i)each<int32_t>([=](unsigned) { return x; });
}
inline __m512i mask_set1_epi32(__m512i fill, __mmask16 mask, int32_t x) {
  const auto lanes = (Lanes<int32_t>)fill;
  return (__m512i)each<int32_t>([&](unsigned l) { return has(mask, l) ? x : lanes[l]; });
}
template <typename... Lane>
inline __m512i setr_epi32(Lane... lane) {
  return (__m512i)Lanes<int32_t>{lane...};
}
inline __m512i broadcast_i32x4(__m128i x) {
  const auto words = (__v4si)x;
  return (__m512i)each<int32_t>([&](unsigned l) { return words[l % 4]; });
}
inline __m512i broadcastq_epi64(__m128i x) {
  return (__m512i)each<int64_t>([&](unsigned) { return x[0]; });
}
inline __m512 setzero_ps() {
  return __m512{};
}
inline __m512d setzero_pd() {
  return __m512d{};
}
inline __m512i setzero_si512() {
  return __m512i{};
}

inline __m512i castps_si512(__m512 x) {
  return (__m512i)x;
}
inline __m512 castsi512_ps(__m512i x) {
  return (__m512)x;
}

struct Half {
  __m256i first, second;
};
template <typename Whole>
inline Half halves(Whole x) {
  return std::bit_cast<Half>(x);
}
inline __m512i join(__m256i first, __m256i second) {
  return std::bit_cast<__m512i>(Half{first, second});
}
inline __m256 castps512_ps256(__m512 x) {
  return (__m256)halves(x).first;
}
inline __m256i castsi512_si256(__m512i x) {
  return halves(x).first;
}
inline __m256d castpd512_pd256(__m512d x) {
  return (__m256d)halves(x).first;
}
// These are asked for the second half only.
inline __m256 extractf32x8_ps(__m512 x, int) {
  return (__m256)halves(x).second;
}
inline __m256i extracti64x4_epi64(__m512i x, int) {
  return halves(x).second;
}
inline __m256d extractf64x4_pd(__m512d x, int) {
  return (__m256d)halves(x).second;
}

// ----------------------------------------------------------------------------------------------
// floats

inline __m512 add_ps(__m512 a, __m512 b) {
  return a + b;
}
inline __m512 sub_ps(__m512 a, __m512 b) {
  return a - b;
}
inline __m512 mul_ps(__m512 a, __m512 b) {
  return a * b;
}
inline __m512 div_ps(__m512 a, __m512 b) {
  return a / b;
}
inline __m512d add_pd(__m512d a, __m512d b) {
  return a + b;
}
inline __m512 fmadd_ps(__m512 a, __m512 b, __m512 c) {
  return each<float>([&](unsigned l) { return std::fma(a[l], b[l], c[l]); });
}
inline __m512 fmsub_ps(__m512 a, __m512 b, __m512 c) {
  return each<float>([&](unsigned l) { return std::fma(a[l], b[l], -c[l]); });
}
inline __m512 max_ps(__m512 a, __m512 b) {
  return each<float>([&](unsigned l) { return a[l] > b[l] ? a[l] : b[l]; });
}
inline __m512 xor_ps(__m512 a, __m512 b) {
  return (__m512)((__m512i)a ^ (__m512i)b);
}
inline __m512 andnot_ps(__m512 a, __m512 b) {
  return (__m512)(~(__m512i)a & (__m512i)b);
}
inline __mmask16 cmp_ps_mask(__m512 a, __m512 b, int how) {
  unsigned mask = 0;
  for (unsigned l = 0; l < 16; ++l) {
    const bool found = how == _CMP_LT_OQ     ? a[l] < b[l]
                       : how == _CMP_NLE_UQ  ? !(a[l] <= b[l])
                       : how == _CMP_EQ_OQ   ? a[l] == b[l]
                       : how == _CMP_UNORD_Q ? std::isnan(a[l]) || std::isnan(b[l])
                                             : throw "a comparison that is not emulated";
    mask |= static_cast<unsigned>(found) << l;
  }
  return static_cast<__mmask16>(mask);
}
inline __m512 mask_blend_ps(__mmask16 mask, __m512 no, __m512 yes) {
  return each<float>([&](unsigned l) { return has(mask, l) ? yes[l] : no[l]; });
}
inline __m512 maskz_loadu_ps(__mmask16 mask, const float* p) {
  return mask_loadu_ps(setzero_ps(), mask, p);
}
inline __m512 maskz_mov_ps(__mmask16 mask, __m512 x) {
  return mask_blend_ps(mask, setzero_ps(), x);
}

// ----------------------------------------------------------------------------------------------
// from one type to another

inline __m512 cvtph_ps(__m256i x) {
  return (__m512)join((__m256i)_mm256_cvtph_ps(_mm256_castsi256_si128(x)),
                      (__m256i)_mm256_cvtph_ps(_mm256_extracti128_si256(x, 1)));
}
// To the nearest, which is all that is asked for.
inline __m256i cvtps_ph(__m512 x, int) {
  return _mm256_set_m128i(_mm256_cvtps_ph(extractf32x8_ps(x, 1), _MM_FROUND_TO_NEAREST_INT),
                          _mm256_cvtps_ph(castps512_ps256(x), _MM_FROUND_TO_NEAREST_INT));
}
inline __m512d cvtps_pd(__m256 x) {
  return each<double>([&](unsigned l) { return static_cast<double>(x[l]); });
}
inline __m512 cvtepi32_ps(__m512i x) {
  const auto lanes = (Lanes<int32_t>)x;
  return each<float>([&](unsigned l) { return static_cast<float>(lanes[l]); });
}
inline __m512i cvtps_epi32(__m512 x) {
  return (__m512i)each<int32_t>(
      [&](unsigned l) { return static_cast<int32_t>(std::nearbyint(x[l])); });
}
inline __m512i cvtepu8_epi32(__m128i x) {
  const auto bytes = (__v16qu)x;
  return (__m512i)each<int32_t>([&](unsigned l) { return bytes[l]; });
}
inline __m512i cvtepu8_epi16(__m256i x) {
  const auto bytes = (__v32qu)x;
  return (__m512i)each<int16_t>([&](unsigned l) { return bytes[l]; });
}
inline __m512i cvtepu16_epi32(__m256i x) {
  const auto words = (__v16hu)x;
  return (__m512i)each<int32_t>([&](unsigned l) { return words[l]; });
}
inline __m512i cvtepi16_epi32(__m256i x) {
  const auto words = (__v16hi)x;
  return (__m512i)each<int32_t>([&](unsigned l) { return words[l]; });
}
inline __m128i cvtepi32_epi8(__m512i x) {
  const auto lanes = (Lanes<int32_t>)x;
  __v16qi bytes{};
  for (unsigned l = 0; l < 16; ++l) bytes[l] = static_cast<char>(lanes[l]);
  return (__m128i)bytes;
}
inline __m256i cvtepi32_epi16(__m512i x) {
  const auto lanes = (Lanes<int32_t>)x;
  __v16hi words{};
  for (unsigned l = 0; l < 16; ++l) words[l] = static_cast<int16_t>(lanes[l]);
  return (__m256i)words;
}

// ----------------------------------------------------------------------------------------------
// integers

inline __m512i and_si512(__m512i a, __m512i b) {
  return a & b;
}
inline __m512i xor_si512(__m512i a, __m512i b) {
  return a ^ b;
}
inline __m512i mask_or_epi32(__m512i fill, __mmask16 mask, __m512i a, __m512i b) {
  const auto no = (Lanes<int32_t>)fill, yes = (Lanes<int32_t>)(a | b);
  return (__m512i)each<int32_t>([&](unsigned l) { return has(mask, l) ? yes[l] : no[l]; });
}
inline __m512i add_epi16(__m512i a, __m512i b) {
  return (__m512i)((Lanes<uint16_t>)a + (Lanes<uint16_t>)b);
}
inline __m512i add_epi32(__m512i a, __m512i b) {
  return (__m512i)((Lanes<uint32_t>)a + (Lanes<uint32_t>)b);
}
inline __m512i mullo_epi32(__m512i a, __m512i b) {
  return (__m512i)((Lanes<uint32_t>)a * (Lanes<uint32_t>)b);
}
inline __m512i slli_epi32(__m512i x, int by) {
  return (__m512i)((Lanes<uint32_t>)x << by);
}
inline __m512i srli_epi32(__m512i x, int by) {
  return (__m512i)((Lanes<uint32_t>)x >> by);
}
inline __m512i srli_epi16(__m512i x, int by) {
  return (__m512i)((Lanes<uint16_t>)x >> by);
}
inline __m512i srlv_epi32(__m512i x, __m512i by) {
  const auto lanes = (Lanes<uint32_t>)x, shifts = (Lanes<uint32_t>)by;
  return (__m512i)each<uint32_t>(
      [&](unsigned l) { return shifts[l] < 32 ? lanes[l] >> shifts[l] : 0; });
}
inline __mmask64 movepi8_mask(__m512i x) {
  const auto bytes = (Lanes<int8_t>)x;
  uint64_t mask = 0;
  for (unsigned l = 0; l < 64; ++l) mask |= static_cast<uint64_t>(bytes[l] < 0) << l;
  return mask;
}
inline __m512i mask_sub_epi8(__m512i fill, __mmask64 mask, __m512i a, __m512i b) {
  const auto no = (Lanes<uint8_t>)fill, yes = (Lanes<uint8_t>)a - (Lanes<uint8_t>)b;
  return (__m512i)each<uint8_t>([&](unsigned l) { return has(mask, l) ? yes[l] : no[l]; });
}
inline __m512i abs_epi8(__m512i x) {
  const auto bytes = (Lanes<int8_t>)x;
  return (__m512i)each<uint8_t>(
      [&](unsigned l) { return static_cast<uint8_t>(std::abs(bytes[l])); });
}
// Within each sixteen bytes.
inline __m512i shuffle_epi8(__m512i x, __m512i index) {
  const auto bytes = (Lanes<uint8_t>)x, places = (Lanes<uint8_t>)index;
  return (__m512i)each<uint8_t>([&](unsigned l) {
    return places[l] & 0x80 ? uint8_t{0} : bytes[l / 16 * 16 + (places[l] & 15)];
  });
}
// Bytes without a sign times bytes with one, neighbours added; limited to 16 bits.
inline __m512i maddubs_epi16(__m512i a, __m512i b) {
  const auto first = (Lanes<uint8_t>)a;
  const auto second = (Lanes<int8_t>)b;
  return (__m512i)each<int16_t>([&](unsigned l) {
    const int sum = first[2 * l] * second[2 * l] + first[2 * l + 1] * second[2 * l + 1];
    return static_cast<int16_t>(std::clamp(sum, -32768, 32767));
  });
}
inline __m512i madd_epi16(__m512i a, __m512i b) {
  const auto first = (Lanes<int16_t>)a, second = (Lanes<int16_t>)b;
  return (__m512i)each<int32_t>([&](unsigned l) {
    return first[2 * l] * second[2 * l] + first[2 * l + 1] * second[2 * l + 1];
  });
}
inline __m512i dpbusd_epi32(__m512i sum, __m512i a, __m512i b) {
  const auto first = (Lanes<uint8_t>)a;
  const auto second = (Lanes<int8_t>)b;
  const auto start = (Lanes<int32_t>)sum;
  return (__m512i)each<int32_t>([&](unsigned l) {
    int32_t total = start[l];
    for (unsigned i = 4 * l; i < 4 * l + 4; ++i) total += first[i] * second[i];
    return total;
  });
}

}  // namespace kv::emulated

// Macros of the compiler's header, some of them only where it does not optimise.
#undef _mm512_cmp_ps_mask
#undef _mm512_cvtps_ph
#undef _mm512_extractf32x8_ps
#undef _mm512_extractf64x4_pd
#undef _mm512_extracti64x4_epi64
#undef _mm512_setr_epi32
#undef _mm512_slli_epi32
#undef _mm512_srli_epi16
#undef _mm512_srli_epi32

// What the kernels call.
#define _mm512_abs_epi8 kv::emulated::abs_epi8
#define _mm512_add_epi16 kv::emulated::add_epi16
#define _mm512_add_epi32 kv::emulated::add_epi32
#define _mm512_add_pd kv::emulated::add_pd
#define _mm512_add_ps kv::emulated::add_ps
#define _mm512_and_si512 kv::emulated::and_si512
#define _mm512_andnot_ps kv::emulated::andnot_ps
#define _mm512_broadcast_i32x4 kv::emulated::broadcast_i32x4
#define _mm512_broadcastq_epi64 kv::emulated::broadcastq_epi64
#define _mm512_castpd512_pd256 kv::emulated::castpd512_pd256
#define _mm512_castps512_ps256 kv::emulated::castps512_ps256
#define _mm512_castps_si512 kv::emulated::castps_si512
#define _mm512_castsi512_ps kv::emulated::castsi512_ps
#define _mm512_castsi512_si256 kv::emulated::castsi512_si256
#define _mm512_cmp_ps_mask kv::emulated::cmp_ps_mask
#define _mm512_cvtepi16_epi32 kv::emulated::cvtepi16_epi32
#define _mm512_cvtepi32_epi16 kv::emulated::cvtepi32_epi16
#define _mm512_cvtepi32_epi8 kv::emulated::cvtepi32_epi8
#define _mm512_cvtepi32_ps kv::emulated::cvtepi32_ps
#define _mm512_cvtepu16_epi32 kv::emulated::cvtepu16_epi32
#define _mm512_cvtepu8_epi16 kv::emulated::cvtepu8_epi16
#define _mm512_cvtepu8_epi32 kv::emulated::cvtepu8_epi32
#define _mm512_cvtph_ps kv::emulated::cvtph_ps
#define _mm512_cvtps_epi32 kv::emulated::cvtps_epi32
#define _mm512_cvtps_pd kv::emulated::cvtps_pd
#define _mm512_cvtps_ph kv::emulated::cvtps_ph
#define _mm512_div_ps kv::emulated::div_ps
#define _mm512_dpbusd_epi32 kv::emulated::dpbusd_epi32
#define _mm512_extractf32x8_ps kv::emulated::extractf32x8_ps
#define _mm512_extractf64x4_pd kv::emulated::extractf64x4_pd
#define _mm512_extracti64x4_epi64 kv::emulated::extracti64x4_epi64
#define _mm512_fmadd_ps kv::emulated::fmadd_ps
#define _mm512_fmsub_ps kv::emulated::fmsub_ps
#define _mm512_loadu_ps kv::emulated::loadu_ps
#define _mm512_loadu_si512 kv::emulated::loadu_si512
#define _mm512_madd_epi16 kv::emulated::madd_epi16
#define _mm512_maddubs_epi16 kv::emulated::maddubs_epi16
#define _mm512_mask_blend_ps kv::emulated::mask_blend_ps
#define _mm512_mask_loadu_ps kv::emulated::mask_loadu_ps
#define _mm512_mask_or_epi32 kv::emulated::mask_or_epi32
#define _mm512_mask_set1_epi32 kv::emulated::mask_set1_epi32
#define _mm512_mask_storeu_ps kv::emulated::mask_storeu_ps
#define _mm512_mask_sub_epi8 kv::emulated::mask_sub_epi8
#define _mm512_maskz_loadu_ps kv::emulated::maskz_loadu_ps
#define _mm512_maskz_mov_ps kv::emulated::maskz_mov_ps
#define _mm512_max_ps kv::emulated::max_ps
#define _mm512_movepi8_mask kv::emulated::movepi8_mask
#define _mm512_mul_ps kv::emulated::mul_ps
#define _mm512_mullo_epi32 kv::emulated::mullo_epi32
#define _mm512_set1_epi16 kv::emulated::set1_epi16
#define _mm512_set1_epi32 kv::emulated::set1_epi32
#define _mm512_set1_epi8 kv::emulated::set1_epi8
#define _mm512_set1_ps kv::emulated::set1_ps
#define _mm512_setr_epi32 kv::emulated::setr_epi32
#define _mm512_setzero_pd kv::emulated::setzero_pd
#define _mm512_setzero_ps kv::emulated::setzero_ps
#define _mm512_setzero_si512 kv::emulated::setzero_si512
#define _mm512_shuffle_epi8 kv::emulated::shuffle_epi8
#define _mm512_slli_epi32 kv::emulated::slli_epi32
#define _mm512_srli_epi16 kv::emulated::srli_epi16
#define _mm512_srli_epi32 kv::emulated::srli_epi32
#define _mm512_srlv_epi32 kv::emulated::srlv_epi32
#define _mm512_storeu_ps kv::emulated::storeu_ps
#define _mm512_storeu_si512 kv::emulated::storeu_si512
#define _mm512_sub_ps kv::emulated::sub_ps
#define _mm512_xor_ps kv::emulated::xor_ps
#define _mm512_xor_si512 kv::emulated::xor_si512
