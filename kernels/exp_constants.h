// exp(x) = 2^n * e^r, n = x / ln 2 rounded to nearest even, r = x - n ln 2 with ln 2 in two parts
// (Cody and Waite), e^r = 1 + r + r^2 (c2 + c3 r + ... + c6 r^4): minimax in relative error over
// |r| <= ln(2) / 2, 0.06 ulp before rounding. Shared by ref.cc and the vector files; the order of
// steps is in ref.cc.
#pragma once

namespace kv {

// Adding it leaves an integer |n| < 2^22 in the low mantissa bits, rounded to nearest even.
inline constexpr float kExpMagic = 0x1.8p+23f;
inline constexpr float kLog2E = 0x1.715476p+0f;
inline constexpr float kLn2High = 0x1.62e4p-1f;  // 15 bits: n * kLn2High is exact
inline constexpr float kLn2Low = 0x1.7f7d1cp-20f;
inline constexpr float kExpC2 = 0x1.fffffcp-2f;
inline constexpr float kExpC3 = 0x1.555492p-3f;
inline constexpr float kExpC4 = 0x1.5558f4p-5f;
inline constexpr float kExpC5 = 0x1.123a22p-7f;
inline constexpr float kExpC6 = 0x1.6a23c2p-10f;
// The last x whose exp is >= FLT_MIN, about -87.33, and the last whose exp is finite, about 88.72.
inline constexpr float kExpLowest = -0x1.5d589ep+6f;
inline constexpr float kExpHighest = 0x1.62e42ep+6f;

}  // namespace kv
