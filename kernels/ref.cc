// The scalar definition of every kernel: plain loops, no tricks. All other tables must give the
// same bits. std::fma stands where one rounding is meant; everywhere else each operation rounds
// once (-ffp-contract=off). The kernels that read codes are in ref_codes.cc.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/activation_constants.h"
#include "kernels/exp_constants.h"
#include "kernels/half.h"
#include "kernels/int8_constants.h"
#include "kernels/isa_tables.h"
#include "kernels/ref.h"

namespace kv::scalar {
namespace {

struct F32 {
  using Storage = float;
  static float widen(float x) { return x; }
};
struct F16 {
  using Storage = uint16_t;
  static float widen(uint16_t x) { return f16_to_float(x); }
};
struct BF16 {
  using Storage = uint16_t;
  static float widen(uint16_t x) { return bf16_to_float(x); }
};

// lanes[l] += lanes[l + half] for half = 8, 4, 2, 1.
template <typename T>
T tree16(T* lanes) {
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  }
  return lanes[0];
}

float exp_float(float x) {
  const float shifted = std::fma(x, kLog2E, kExpMagic);
  const float n = shifted - kExpMagic;
  float r = std::fma(n, -kLn2High, x);
  r = std::fma(n, -kLn2Low, r);
  float p = std::fma(kExpC6, r, kExpC5);
  p = std::fma(p, r, kExpC4);
  p = std::fma(p, r, kExpC3);
  p = std::fma(p, r, kExpC2);
  p = std::fma(p, r, 1.0f);
  p = std::fma(p, r, 1.0f);
  // n goes straight into the exponent; the bits of kExpMagic itself leave at the top. n = 128 is
  // right too, since then p < 1, and so is p < 1 at n = -126, where the result becomes subnormal.
  const uint32_t bits = std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(shifted) << 23);
  if (x < kExpLowest) return 0.0f;
  if (!(x <= kExpHighest)) return x + HUGE_VALF;  // inf, or NaN for NaN
  return std::bit_cast<float>(bits);
}

// The larger one, never -0, so that the sign of a zero does not depend on the order of comparisons.
float max_of(const float* x, int64_t n) {
  float largest = x[0];
  for (int64_t i = 1; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest + 0.0f;
}

template <typename B>
void gemm(const float* a, int64_t lda, int m, int k, const typename B::Storage* b, int64_t ldb,
          float* c, int64_t ldc, bool accumulate) {
  for (int i = 0; i < m; ++i) {
    float sums[kPanel];
    for (int j = 0; j < kPanel; ++j) sums[j] = accumulate ? c[i * ldc + j] : 0.0f;
    for (int step = 0; step < k; ++step) {
      for (int j = 0; j < kPanel; ++j) {
        sums[j] = std::fma(a[i * lda + step], B::widen(b[step * ldb + j]), sums[j]);
      }
    }
    std::memcpy(c + i * ldc, sums, sizeof(sums));
  }
}

void to_int8(const float* x, int n, int8_t* codes, float* scales, int32_t* sums) {
  for (int g = 0; g * kInt8Group < n; ++g, x += kInt8Group, codes += kInt8Group) {
    const int in_group = std::min(kInt8Group, n - g * kInt8Group);
    float largest = 0;
    bool finite = true;
    for (int i = 0; i < in_group; ++i) {
      finite = finite && std::isfinite(x[i]);
      largest = std::max(largest, std::fabs(x[i]));
    }
    const bool zero = !finite || largest < kInt8Smallest;
    scales[g] = !finite ? std::numeric_limits<float>::quiet_NaN() : zero ? 0 : largest / 127.0f;
    sums[g] = 0;
    for (int i = 0; i < kInt8Group; ++i) {
      codes[i] = 0;
      if (zero || i >= in_group) continue;
      codes[i] = static_cast<int8_t>(std::nearbyint(x[i] * (127.0f / largest)));
      sums[g] += codes[i];
    }
  }
}

void gemm_int8(const int8_t* codes, const float* scales, const int32_t*, int m, int n_groups,
               const std::byte* panel, float* c, int64_t ldc) {
  for (int i = 0; i < m; ++i) {
    float sums[kPanel] = {};
    for (int g = 0; g < n_groups; ++g) {
      const std::byte* group = panel + static_cast<int64_t>(g) * kInt8GroupBytes;
      const auto* weights = reinterpret_cast<const int8_t*>(group + 2 * kPanel);
      for (int o = 0; o < kPanel; ++o) {
        int32_t dot = 0;
        for (int k = 0; k < kInt8Group; ++k) {
          dot += codes[k] * weights[(k / 4 * kPanel + o) * 4 + k % 4];
        }
        uint16_t scale;
        std::memcpy(&scale, group + 2 * o, sizeof(scale));
        sums[o] = std::fma(static_cast<float>(dot), scales[g] * f16_to_float(scale), sums[o]);
      }
      codes += kInt8Group;
    }
    scales += n_groups;
    std::memcpy(c + i * ldc, sums, sizeof(sums));
  }
}

void gemm_int4(const int8_t* codes, const float* scales, const int32_t* sums, int m, int n_groups,
               const std::byte* panel, float* c, int64_t ldc) {
  for (int i = 0; i < m; ++i) {
    float totals[kPanel] = {};
    for (int g = 0; g < n_groups; ++g) {
      const std::byte* group = panel + static_cast<int64_t>(g) * kInt4GroupBytes;
      float scale[kPanel], minimum[kPanel];
      std::memcpy(scale, group, sizeof(scale));
      std::memcpy(minimum, group + sizeof(scale), sizeof(minimum));
      const auto* weights = reinterpret_cast<const uint8_t*>(group + 8 * kPanel);
      for (int o = 0; o < kPanel; ++o) {
        int32_t dot = 0;
        for (int k = 0; k < kInt8Group / 2; ++k) {
          const int both = weights[(k / 4 * kPanel + o) * 4 + k % 4];
          dot += codes[k] * (both & 15) + codes[k + kInt8Group / 2] * (both >> 4);
        }
        totals[o] = std::fma(static_cast<float>(dot), scales[g] * scale[o], totals[o]);
        totals[o] = std::fma(static_cast<float>(sums[g]), scales[g] * minimum[o], totals[o]);
      }
      codes += kInt8Group;
    }
    scales += n_groups;
    sums += n_groups;
    std::memcpy(c + i * ldc, totals, sizeof(totals));
  }
}

void rms_norm(const float* x, const float* weight, int n, float eps, float* out) {
  float lanes[kLanes] = {};
  for (int i = 0; i < n; ++i) lanes[i % kLanes] = std::fma(x[i], x[i], lanes[i % kLanes]);
  const float r = 1.0f / std::sqrt(tree16(lanes) / static_cast<float>(n) + eps);
  for (int i = 0; i < n; ++i) out[i] = (x[i] * r) * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, int n, float eps,
                float* out) {
  float lanes[kLanes] = {};
  for (int i = 0; i < n; ++i) lanes[i % kLanes] += x[i];
  const float mean = tree16(lanes) / static_cast<float>(n);
  std::fill_n(lanes, kLanes, 0.0f);
  for (int i = 0; i < n; ++i) {
    const float centred = x[i] - mean;
    lanes[i % kLanes] = std::fma(centred, centred, lanes[i % kLanes]);
  }
  const float r = 1.0f / std::sqrt(tree16(lanes) / static_cast<float>(n) + eps);
  for (int i = 0; i < n; ++i) out[i] = std::fma((x[i] - mean) * r, weight[i], bias[i]);
}

void add(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

void mul(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] *= y[i];
}

float tanh_float(float x) {
  const float u = x * x;
  float p = std::fma(kTanhC4, u, kTanhC3);
  p = std::fma(p, u, kTanhC2);
  p = std::fma(p, u, kTanhC1);
  p = std::fma(p, u, kTanhC0);
  const float small = std::fma(x * u, p, x);
  const float a = std::fabs(x);
  const float large = 1.0f - 2.0f / (exp_float(a + a) + 1.0f);
  return a < kTanhSmall ? small : x < 0.0f ? -large : large;
}

float erf_float(float z) {
  const float u = z * z;
  float q = std::fma(kErfQ5, u, kErfQ4);
  q = std::fma(q, u, kErfQ3);
  q = std::fma(q, u, kErfQ2);
  q = std::fma(q, u, kErfQ1);
  q = std::fma(q, u, kErfQ0);
  const float small = z * std::fma(u, q, kErfC);
  const float a = std::fabs(z);
  const float b = a < kErfLargest ? a : kErfLargest;
  float r = std::fma(kErfR7, b, kErfR6);
  r = std::fma(r, b, kErfR5);
  r = std::fma(r, b, kErfR4);
  r = std::fma(r, b, kErfR3);
  r = std::fma(r, b, kErfR2);
  r = std::fma(r, b, kErfR1);
  r = std::fma(r, b, kErfR0);
  const float large = 1.0f - exp_float(r);
  return a < 1.0f ? small : z < 0.0f ? -large : large;
}

void tanh_inplace(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = tanh_float(x[i]);
}

void gelu_tanh(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float inner = (x[i] * kGeluScale) * std::fma(x[i] * x[i], kGeluCubic, 1.0f);
    x[i] = (x[i] * 0.5f) * (1.0f + tanh_float(inner));
  }
}

void gelu_erf(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = (x[i] * 0.5f) * (1.0f + erf_float(x[i] * kSqrtHalf));
}

void silu_mul(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = (gate[i] / (1.0f + exp_float(-gate[i]))) * up[i];
}

void exp_inplace(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = exp_float(x[i]);
}

void softmax_block(float* s, int n, float* max_out, float* sum_out) {
  const float largest = max_of(s, n);
  float lanes[kLanes] = {};
  for (int i = 0; i < n; ++i) {
    s[i] = exp_float(s[i] - largest);
    lanes[i % kLanes] += s[i];
  }
  for (int i = n; i % kLanes != 0; ++i) s[i] = 0.0f;
  *max_out = largest;
  *sum_out = tree16(lanes);
}

void merge_blocks(float* oa, float* ma, float* la, const float* ob, float mb, float lb, int n) {
  const float m = *ma > mb ? *ma : mb;
  const float fa = exp_float(*ma - m);
  const float fb = exp_float(mb - m);
  for (int i = 0; i < n; ++i) oa[i] = std::fma(oa[i], fa, ob[i] * fb);
  *la = std::fma(*la, fa, lb * fb);
  *ma = m;
}

void scale(const float* x, float factor, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * factor;
}

void rotate_pair(float& lo, float& hi, float cos, float sin) {
  const float rotated_lo = std::fma(lo, cos, -(hi * sin));
  hi = std::fma(hi, cos, lo * sin);
  lo = rotated_lo;
}

void rotate_row(float* x, const float* cos, const float* sin, int rotary_dim) {
  const int half = rotary_dim / 2;
  for (int i = 0; i < half; ++i) rotate_pair(x[i], x[i + half], cos[i], sin[i]);
}

template <typename B>
void load_keys(const typename B::Storage* tile, int head_dim, const float* cos, const float* sin,
               int rotary_dim, float* out) {
  for (int i = 0; i < head_dim * kTile; ++i) out[i] = B::widen(tile[i]);
  rotate_keys(out, cos, sin, rotary_dim);
}

template <typename B>
void score_keys(const typename B::Storage* tile, int head_dim, const float* cos, const float* sin,
                int rotary_dim, const KeyProduct& product) {
  std::vector<float> keys(static_cast<size_t>(head_dim) * kTile);
  load_keys<B>(tile, head_dim, cos, sin, rotary_dim, keys.data());
  score(keys, head_dim, product);
}

template <typename B>
void weigh_values(const typename B::Storage* tile, int n, int head_dim,
                  const ValueProduct& product) {
  for (int i = 0; i < product.n_rows; ++i) {
    for (int d = 0; d < head_dim; ++d) {
      float& out = product.out[i * head_dim + d];
      if (!product.accumulate) out = 0.0f;
      for (int r = 0; r < n; ++r)
        out = std::fma(product.weights[i * product.stride + r], B::widen(tile[r * head_dim + d]),
                       out);
    }
  }
}

template <typename B>
void load_values(const typename B::Storage* tile, int n, int head_dim, float* out) {
  const int stride = padded(head_dim);
  for (int r = 0; r < n; ++r) {
    for (int d = 0; d < head_dim; ++d) out[r * stride + d] = B::widen(tile[r * head_dim + d]);
    for (int d = head_dim; d < stride; ++d) out[r * stride + d] = 0.0f;
  }
}

void transpose_rows(const float* const* rows, int n_columns, float* out) {
  for (int c = 0; c < n_columns; ++c) {
    for (int r = 0; r < kTile; ++r) out[c * kTile + r] = rows[r][c];
  }
}

void to_f16(const float* x, int64_t n, uint16_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = float_to_f16(x[i]);
}

void to_bf16(const float* x, int64_t n, uint16_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = float_to_bf16(x[i]);
}

void from_f16(const uint16_t* x, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = f16_to_float(x[i]);
}

void from_bf16(const uint16_t* x, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = bf16_to_float(x[i]);
}

double log_sum_exp(const float* x, int64_t n) {
  const float largest = max_of(x, n);
  double lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % kLanes] += exp_float(x[i] - largest);
  return static_cast<double>(largest) + std::log(tree16(lanes));
}

int64_t argmax(const float* x, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i) {
    if (x[i] > x[best]) best = i;
  }
  return best;
}

}  // namespace

void rotate_keys(float* tile, const float* cos, const float* sin, int rotary_dim) {
  if (cos == nullptr) return;
  const int n = rotary_dim / 2 * kTile;
  for (int i = 0; i < n; ++i) rotate_pair(tile[i], tile[i + n], cos[i], sin[i]);
}

void score(const std::vector<float>& keys, int head_dim, const KeyProduct& product) {
  gemm<F32>(product.q, product.q_stride, product.n_rows, head_dim, keys.data(), kTile,
            product.scores, product.stride, false);
}

const Kernels kTable = {
    .gemm_f32 = gemm<F32>,
    .gemm_f16 = gemm<F16>,
    .gemm_bf16 = gemm<BF16>,
    .to_int8 = to_int8,
    .gemm_int8 = gemm_int8,
    .gemm_int4 = gemm_int4,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .add = add,
    .mul = mul,
    .silu_mul = silu_mul,
    .tanh_inplace = tanh_inplace,
    .gelu_tanh = gelu_tanh,
    .gelu_erf = gelu_erf,
    .exp_inplace = exp_inplace,
    .softmax_block = softmax_block,
    .merge_blocks = merge_blocks,
    .scale = scale,
    .rotate_row = rotate_row,
    .load_keys_f32 = load_keys<F32>,
    .load_keys_f16 = load_keys<F16>,
    .load_keys_bf16 = load_keys<BF16>,
    .load_keys_int = load_keys_int,
    .load_keys_channels = load_keys_channels,
    .score_keys_f32 = score_keys<F32>,
    .score_keys_f16 = score_keys<F16>,
    .score_keys_bf16 = score_keys<BF16>,
    .score_keys_int = score_keys_int,
    .load_values_f32 = load_values<F32>,
    .load_values_f16 = load_values<F16>,
    .load_values_bf16 = load_values<BF16>,
    .weigh_values_f32 = weigh_values<F32>,
    .weigh_values_f16 = weigh_values<F16>,
    .weigh_values_bf16 = weigh_values<BF16>,
    .load_values_int = load_values_int,
    .decode_rows = decode_rows,
    .weigh_rows = weigh_rows,
    .transpose_rows = transpose_rows,
    .decode_transposed = decode_transposed,
    .hadamard = hadamard,
    .to_f16 = to_f16,
    .to_bf16 = to_bf16,
    .from_f16 = from_f16,
    .from_bf16 = from_bf16,
    .log_sum_exp = log_sum_exp,
    .argmax = argmax,
};

}  // namespace kv::scalar
