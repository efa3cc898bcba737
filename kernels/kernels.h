// Every arithmetic kernel: shapes, aliasing, order of additions. The scalar definitions in ref.cc
// are the specification; impl.inc and the instruction-set files must give the same bits on every
// input that has no NaN.
//
// How that is possible
//   * Products are vectorised over outputs. Each output is one chain acc = fma(a[k], b[k], acc), k
//   = 0, 1, 2, ...,
//     from +0 (or from what is in C). No chain is ever split, so rows, threads and blocking never
//     show.
//   * Sums along a row (norms, softmax denominators) use kLanes = 16 virtual lanes: element i goes
//   to lane i % 16 in
//     rising order; then lanes l and l + 8 are added, then l and l + 4, l + 2, l + 1 ("tree16").
//   * exp is one polynomial of fused multiply-adds, the same steps at every width.
// Pointers need no alignment unless said otherwise. n may be 0. Outputs never alias inputs unless
// said otherwise.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kv {

inline constexpr int kPanel = 32;  // outputs in one packed weight panel, columns of one gemm call
inline constexpr int kTile = 32;   // cache rows in one tile
inline constexpr int kAttnBlock = 128;  // cache rows whose softmax is taken together (kv::attend)
inline constexpr int kLanes = 16;       // virtual width of every sum along a row
inline constexpr int kInt8Group = 32;   // inputs of an eight-bit product that share a scale

// Bytes of one group of an eight-bit panel: kPanel scales as half bits, then the codes of kInt8Group
// inputs, element (input k, output o) at (k / 4 * kPanel + o) * 4 + k % 4.
inline constexpr int kInt8GroupBytes = 2 * kPanel + kInt8Group * kPanel;

// Bytes of one group of a four-bit panel: kPanel scales and kPanel minimums as float, then the codes of
// kInt8Group inputs: inputs k < 16 and k + 16 of output o in the low and the high half of byte
// (k / 4 * kPanel + o) * 4 + k % 4.
inline constexpr int kInt4GroupBytes = 8 * kPanel + kInt8Group * kPanel / 2;

// Mixed channels (load_keys_int): so many that share a scale are transformed as codes, in 16 bits.
inline constexpr int kIntegerBlock = 128;
constexpr int integer_block(int group, int block) {
  const int aligned = group & -group;  // the largest power of two that divides it
  const int both = aligned < block ? aligned : block;
  return both < kIntegerBlock ? both : kIntegerBlock;
}

// head_dim rounded up to whole panels: the row stride of unpacked values and attention outputs.
constexpr int padded(int n) {
  return (n + kPanel - 1) / kPanel * kPanel;
}

enum class Isa { kScalar = 0, kAvx2 = 1, kAvx512 = 2 };
enum class DType { kF32 = 0, kF16 = 1, kBF16 = 2 };

constexpr size_t dtype_bytes(DType t) {
  return t == DType::kF32 ? 4 : 2;
}
const char* dtype_name(DType t);  // "f32", "f16", "bf16"

// How a code c becomes a value with its scale s and offset o; every operation rounds.
enum class CodeValue {
  kFused,             // fma(c, s, o)
  kScaleThenAdd,      // c * s + o
  kSubtractThenScale  // (c - o) * s
};

inline constexpr int kFewRows = 4;  // of A that a product takes at once while it decodes B

// A few query rows' product with the keys of a tile.
struct KeyProduct {
  const float* q = nullptr;  // (n_rows, head_dim), q_stride floats between rows
  int64_t q_stride = 0;
  int n_rows = 0;
  float* scores = nullptr;  // (n_rows, kTile), `stride` floats between rows
  int64_t stride = 0;
  // Not null: a tile of as many bytes that is read after this one; its lines are asked for on the way, in
  // their order and one by one, since a burst of requests would hold up the reads of this one.
  const std::byte* next = nullptr;
};
inline constexpr int kMaxScoredRotary = 512;  // rotary_dim of score_keys_*

// The product of a few query rows' weights with the values of a tile.
struct ValueProduct {
  const float* weights = nullptr;  // (n_rows, rows of the tile), `stride` floats between rows
  int64_t stride = 0;
  int n_rows = 0;
  float* out = nullptr;  // (n_rows, padded(head_dim))
  bool accumulate = false;
  const std::byte* next = nullptr;  // as in KeyProduct
};

// Rows of codes. Row r is a little-endian string from codes + r * row_bytes on, code i in the bits
// i * bits ... of it. Scale and offset of that code: scales[r * row_step + i * step] and so on.
struct CodeRows {
  int bits = 8;  // 8, 4, 3, 2 or 1
  CodeValue value = CodeValue::kFused;
  const uint8_t* codes = nullptr;
  int64_t row_bytes = 0;
  const float *scales = nullptr, *offsets = nullptr;
  int row_step = 0;
  int step = 0;       // 0 or 1
  int64_t ahead = 0;  // weigh_rows asks for the bytes so far behind the codes that it reads
};

// One table for each instruction set. Every entry has a scalar definition of the same name in
// ref.cc.
struct Kernels {
  // C (m, kPanel) = A (m, k) * B (k, kPanel), or += when accumulate. lda, ldb, ldc: elements
  // between rows. B is float, IEEE half bits or bfloat16 bits; 16-bit values are widened exactly.
  void (*gemm_f32)(const float* a, int64_t lda, int m, int k, const float* b, int64_t ldb, float* c,
                   int64_t ldc, bool accumulate);
  void (*gemm_f16)(const float* a, int64_t lda, int m, int k, const uint16_t* b, int64_t ldb,
                   float* c, int64_t ldc, bool accumulate);
  void (*gemm_bf16)(const float* a, int64_t lda, int m, int k, const uint16_t* b, int64_t ldb,
                    float* c, int64_t ldc, bool accumulate);

  // Rounds a row to eight bits in groups of kInt8Group; the last group is filled up with zeros.
  // scales[g] = max |x| / 127, codes = x * (127 / max |x|) rounded to nearest even, sums[g] = the sum
  // of the group's codes. A group whose largest magnitude is below 1e-30 counts as zeros; one that
  // holds an inf or NaN gets the scale NaN and codes 0.
  void (*to_int8)(const float* x, int n, int8_t* codes, float* scales, int32_t* sums);

  // C (m, kPanel) = A (m, n_groups * kInt8Group) * one eight-bit panel (n_groups groups, see
  // kInt8GroupBytes, codes in [-127, 127]). A as to_int8 leaves it, rows one after the other. Each
  // output is one chain over the groups, acc = fma(dot, a_scale * b_scale, acc) from +0; the dot
  // product of a group is an exact integer.
  void (*gemm_int8)(const int8_t* codes, const float* scales, const int32_t* sums, int m,
                    int n_groups, const std::byte* panel, float* c, int64_t ldc);

  // The same on a four-bit panel (kInt4GroupBytes), whose weights are code * scale + minimum: for each
  // group acc = fma(dot, a_scale * b_scale, acc), then acc = fma(sum, a_scale * b_minimum, acc).
  void (*gemm_int4)(const int8_t* codes, const float* scales, const int32_t* sums, int m,
                    int n_groups, const std::byte* panel, float* c, int64_t ldc);

  // out[i] = (x[i] * r) * weight[i], r = 1 / sqrt(sum(x^2) / n + eps); the squares are fma chains
  // per lane, tree16. out may be x.
  void (*rms_norm)(const float* x, const float* weight, int n, float eps, float* out);

  // out[i] = fma((x[i] - mean) * r, weight[i], bias[i]), r = 1 / sqrt(variance + eps): mean and variance
  // are tree16 sums over n, of x and of fma chains of (x - mean)^2. out may be x.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int n, float eps,
                     float* out);

  // x[i] += y[i]; x[i] *= y[i].
  void (*add)(float* x, const float* y, int64_t n);
  void (*mul)(float* x, const float* y, int64_t n);

  // out[i] = (gate[i] / (1 + exp(-gate[i]))) * up[i]. out may be gate.
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out);

  // x[i] = tanh(x[i]), at most 2 ulp off.
  void (*tanh_inplace)(float* x, int64_t n);

  // GELU in place: x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), and x / 2 (1 + erf(x / sqrt(2))).
  void (*gelu_tanh)(float* x, int64_t n);
  void (*gelu_erf)(float* x, int64_t n);

  // x[i] = exp(x[i]) by the project's polynomial: at most 1 ulp from exp for results >= FLT_MIN;
  // below exp(-87.33) gives +0, above FLT_MAX inf.
  void (*exp_inplace)(float* x, int64_t n);

  // One softmax block in place: s (n) scaled scores, 0 < n <= kAttnBlock, of which at least one is
  // > -inf. max_out = max s; s[i] = exp(s[i] - max); sum_out = tree16 over s. s[n .. next multiple
  // of kLanes) is scratch that must be writable and is set to 0.
  void (*softmax_block)(float* s, int n, float* max_out, float* sum_out);

  // Folds block b into the running block a: m = max(ma, mb), fa = exp(ma - m), fb = exp(mb - m),
  // oa[i] = fma(oa[i], fa, ob[i] * fb), la = fma(la, fa, lb * fb), ma = m. n = columns.
  void (*merge_blocks)(float* oa, float* ma, float* la, const float* ob, float mb, float lb, int n);

  // out[i] = x[i] * factor. out may be x.
  void (*scale)(const float* x, float factor, int64_t n, float* out);

  // Rotates one row of a head in the half-split layout, in place: for i < rotary_dim / 2
  //   lo = x[i], hi = x[i + rotary_dim / 2]
  //   lo' = fma(lo, cos[i], -(hi * sin[i])), hi' = fma(hi, cos[i], lo * sin[i])
  void (*rotate_row)(float* x, const float* cos, const float* sin, int rotary_dim);

  // Key tiles are transposed: element (channel d, row r) at tile[d * kTile + r]. These widen a tile
  // to float and, where cos is not null, rotate every row at once (same arithmetic as rotate_row);
  // cos and sin are (rotary_dim / 2, kTile). out (head_dim, kTile), may be the tile itself only for
  // f32.
  void (*load_keys_f32)(const float* tile, int head_dim, const float* cos, const float* sin,
                        int rotary_dim, float* out);
  void (*load_keys_f16)(const uint16_t* tile, int head_dim, const float* cos, const float* sin,
                        int rotary_dim, float* out);
  void (*load_keys_bf16)(const uint16_t* tile, int head_dim, const float* cos, const float* sin,
                         int rotary_dim, float* out);
  // Group-quantised keys, bits 8, 4 or 2: codes of channel d are bits * kTile / 8 bytes at codes +
  // d * that, row r in the bits r * bits ... of the little-endian string. scale, minimum:
  // (ceil(head_dim / group), kTile) IEEE half bits. block 1: value = fma(code, scale, minimum). A larger
  // one, a power of two that divides head_dim: the orthonormal Walsh-Hadamard transform of blocks of so
  // many channels, before they are rotated. With n = integer_block(group, block) and f = 1 / sqrt(block):
  // runs of n channels are transformed as codes, which is exact; each sum is multiplied by scale * f, and
  // minimum * (n * f) is added (fused) to the first of the run; the strides n, 2 n, ... follow.
  void (*load_keys_int)(int bits, const uint8_t* codes, const uint16_t* scale,
                        const uint16_t* minimum, int group, int head_dim, int block,
                        const float* cos, const float* sin, int rotary_dim, float* out);

  // The same codes with a scale for every channel and `group` rows (4, 8, 16 or 32): scale, minimum
  // (head_dim, kTile / group) half bits.
  void (*load_keys_channels)(int bits, const uint8_t* codes, const uint16_t* scale,
                             const uint16_t* minimum, int group, int head_dim, float* out);

  // product.scores = product.q times the tile that load_keys_* give of the same arguments (block 1): their
  // bits and gemm_f32's, without the tile going through memory. Made for n_rows <= kFewRows;
  // rotary_dim <= kMaxScoredRotary.
  void (*score_keys_f32)(const float* tile, int head_dim, const float* cos, const float* sin,
                         int rotary_dim, const KeyProduct& product);
  void (*score_keys_f16)(const uint16_t* tile, int head_dim, const float* cos, const float* sin,
                         int rotary_dim, const KeyProduct& product);
  void (*score_keys_bf16)(const uint16_t* tile, int head_dim, const float* cos, const float* sin,
                          int rotary_dim, const KeyProduct& product);
  void (*score_keys_int)(int bits, const uint8_t* codes, const uint16_t* scale,
                         const uint16_t* minimum, int group, int head_dim, const float* cos,
                         const float* sin, int rotary_dim, const KeyProduct& product);

  // Value tiles are row-major: element (row r, channel d) at tile[r * head_dim + d]. Widens the
  // first n rows to out (n, padded(head_dim)); the padding columns become 0.
  void (*load_values_f32)(const float* tile, int n, int head_dim, float* out);
  void (*load_values_f16)(const uint16_t* tile, int n, int head_dim, float* out);
  void (*load_values_bf16)(const uint16_t* tile, int n, int head_dim, float* out);
  // product.out = product.weights times the first n rows of the tile, or += when accumulate: the bits of
  // load_values_* and gemm_f32, without the values going through memory; made for n_rows <= kFewRows.
  // head_dim is a multiple of kPanel.
  void (*weigh_values_f32)(const float* tile, int n, int head_dim, const ValueProduct& product);
  void (*weigh_values_f16)(const uint16_t* tile, int n, int head_dim, const ValueProduct& product);
  void (*weigh_values_bf16)(const uint16_t* tile, int n, int head_dim, const ValueProduct& product);
  // Codes of row r start at codes + r * ceil(head_dim * bits / 8), channel d in the bits d * bits
  // ...; scale, minimum: (kTile, ceil(head_dim / group)) IEEE half bits. value = fma(code, scale,
  // minimum).
  void (*load_values_int)(int bits, const uint8_t* codes, const uint16_t* scale,
                          const uint16_t* minimum, int group, int n, int head_dim, float* out);

  // n_rows rows of n_columns codes as values: row r at out + r * stride.
  void (*decode_rows)(const CodeRows& rows, int n_rows, int n_columns, float* out, int64_t stride);

  // C (m, n_columns) = A (m, n_rows) * those values, or += when accumulate: the bits of decode_rows and
  // gemm_f32, without the values going through memory; made for m <= kFewRows. n_columns is a
  // multiple of kPanel.
  void (*weigh_rows)(const CodeRows& rows, int n_rows, int n_columns, const float* a, int64_t lda,
                     int m, float* c, int64_t ldc, bool accumulate);

  // out (n_columns, kTile): element (c, r) = rows[r][c], of kTile rows, which may be the same ones.
  void (*transpose_rows)(const float* const* rows, int n_columns, float* out);

  // Both at once, for 0 < n_rows <= kTile rows of codes: out (n_columns, kTile), element (c, r) is the
  // value of column c of row r; columns from n_rows on repeat the last row.
  void (*decode_transposed)(const CodeRows& rows, int n_rows, int n_columns, float* out);

  // The Walsh-Hadamard transform of blocks of `block` floats, in place; n is a multiple of block, a power
  // of two. Strides s = 1, 2, 4, ... below block: the pairs (a, b), s apart, become (a + b, a - b); then
  // everything is multiplied by the float 1 / sqrt(block).
  void (*hadamard)(float* x, int n, int block);

  // Round to nearest even, NaN stays NaN, overflow becomes inf; and the exact way back.
  void (*to_f16)(const float* x, int64_t n, uint16_t* out);
  void (*to_bf16)(const float* x, int64_t n, uint16_t* out);
  void (*from_f16)(const uint16_t* x, int64_t n, float* out);
  void (*from_bf16)(const uint16_t* x, int64_t n, float* out);

  // log(sum exp(x[i])) over n > 0 finite values: the exponentials of x[i] - max are float (as
  // exp_inplace) and are added in double in 16 lanes, tree16; the logarithm is taken in double.
  double (*log_sum_exp)(const float* x, int64_t n);

  // Index of the largest value, the lowest index among equals. n > 0.
  int64_t (*argmax)(const float* x, int64_t n);
};

// The table of one instruction set; null where this CPU lacks it (kAvx2: AVX2 + FMA + F16C;
// kAvx512: F, BW, DQ, VL too).
const Kernels* kernels_for(Isa isa);

// The AVX-512 table for CPUs without VNNI, which kernels_for gives only on such; for tests. Null where
// this CPU lacks AVX-512.
const Kernels* kernels_without_vnni();

// The table in use: the best that the CPU has, or what KVENGINE_ISA=scalar|avx2|avx512 asks for.
// Decided at the first call; throws std::runtime_error where the wish is unknown or the CPU lacks
// it.
const Kernels& kernels();
Isa isa();
const char* isa_name(Isa isa);  // "scalar", "avx2", "avx512"

}  // namespace kv
