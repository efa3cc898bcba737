// Polynomials behind tanh, erf and the two forms of GELU, minimax in absolute error over their
// intervals, below 0.1 ulp of the result before rounding. Shared by ref.cc and the vector files; the
// order of steps is in ref.cc.
#pragma once

namespace kv {

// tanh(x) = x + x^3 P(x^2) for |x| < kTanhSmall, else 1 - 2 / (exp(2 |x|) + 1) with the sign of x.
inline constexpr float kTanhSmall = 0.625f;
inline constexpr float kTanhC0 = -0x1.555534p-2f;
inline constexpr float kTanhC1 = 0x1.110768p-3f;
inline constexpr float kTanhC2 = -0x1.b84444p-5f;
inline constexpr float kTanhC3 = 0x1.5256bcp-6f;
inline constexpr float kTanhC4 = -0x1.76aba2p-8f;

// erf(z) = z (2 / sqrt(pi) + z^2 Q(z^2)) for |z| < 1, else 1 - exp(R(min(|z|, 4))) with the sign of z;
// erf(4) rounds to 1.
inline constexpr float kErfLargest = 4.0f;
inline constexpr float kErfC = 0x1.20dd76p+0f;
inline constexpr float kErfQ0 = -0x1.812742p-2f;
inline constexpr float kErfQ1 = 0x1.ce2d70p-4f;
inline constexpr float kErfQ2 = -0x1.b80010p-6f;
inline constexpr float kErfQ3 = 0x1.54376ap-8f;
inline constexpr float kErfQ4 = -0x1.a5444ap-11f;
inline constexpr float kErfQ5 = 0x1.4cbcdep-14f;
inline constexpr float kErfR0 = 0x1.8a5956p-13f;
inline constexpr float kErfR1 = -0x1.212c0ep+0f;
inline constexpr float kErfR2 = -0x1.443566p-1f;
inline constexpr float kErfR3 = -0x1.bc151ep-4f;
inline constexpr float kErfR4 = 0x1.9d0318p-6f;
inline constexpr float kErfR5 = -0x1.138cd8p-8f;
inline constexpr float kErfR6 = 0x1.cec656p-12f;
inline constexpr float kErfR7 = -0x1.6bd850p-16f;

inline constexpr float kSqrtHalf = 0x1.6a09e6p-1f;   // 1 / sqrt(2)
inline constexpr float kGeluScale = 0x1.988454p-1f;  // sqrt(2 / pi)
inline constexpr float kGeluCubic = 0.044715f;

}  // namespace kv
