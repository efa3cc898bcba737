// The scalar definition of the kernels that read codes, and of the Hadamard transform; see ref.cc.
#include "kernels/ref.h"

#include <algorithm>
#include <cmath>

#include "kernels/half.h"

namespace kv::scalar {
namespace {

// Code number i of a little-endian string of codes; bits 8, 4 or 2.
float code_at(const uint8_t* codes, int bits, int i) {
  const int per_byte = 8 / bits;
  return static_cast<float>(codes[i / per_byte] >> (i % per_byte * bits) & ((1 << bits) - 1));
}

// Code i of a little-endian string of codes of 1 to 8 bits.
float code_in_string(const uint8_t* codes, int bits, int i) {
  int code = 0;
  for (int b = 0; b < bits; ++b) {
    const int at = i * bits + b;
    code |= (codes[at / 8] >> (at % 8) & 1) << b;
  }
  return static_cast<float>(code);
}

float value_of(CodeValue value, float code, float scale, float offset) {
  switch (value) {
    case CodeValue::kFused:
      return std::fma(code, scale, offset);
    case CodeValue::kScaleThenAdd:
      return code * scale + offset;
    default:
      return (code - offset) * scale;
  }
}

// Walsh-Hadamard strides `first`, 2 `first`, ... below `end` of n vectors of `width` floats.
void mix(float* x, int n, int width, int first, int end) {
  for (int stride = first; stride < end; stride *= 2) {
    for (int v = 0; v < n; ++v) {
      if ((v & stride) != 0) continue;
      for (int i = 0; i < width; ++i) {
        float &a = x[v * width + i], &b = x[(v + stride) * width + i];
        const float sum = a + b, difference = a - b;
        a = sum;
        b = difference;
      }
    }
  }
}

}  // namespace

void load_keys_int(int bits, const uint8_t* codes, const uint16_t* scale, const uint16_t* minimum,
                   int group, int head_dim, int block, const float* cos, const float* sin,
                   int rotary_dim, float* out) {
  for (int d = 0; d < head_dim; ++d) {
    for (int r = 0; r < kTile; ++r)
      out[d * kTile + r] = code_at(codes + d * (bits * kTile / 8), bits, r);
  }
  const int inner = integer_block(group, block);
  mix(out, head_dim, kTile, 1, inner);  // exact: at most 255 * kIntegerBlock
  const float factor = 1.0f / std::sqrt(static_cast<float>(block));
  const float of_minimum = static_cast<float>(inner) * factor;
  for (int d = 0; d < head_dim; ++d) {
    for (int r = 0; r < kTile; ++r) {
      const int g = d / group * kTile + r;
      const float by = f16_to_float(scale[g]) * factor;
      float& x = out[d * kTile + r];
      x = d % inner == 0 ? std::fma(x, by, f16_to_float(minimum[g]) * of_minimum) : x * by;
    }
  }
  mix(out, head_dim, kTile, inner, block);
  rotate_keys(out, cos, sin, rotary_dim);
}

void load_keys_channels(int bits, const uint8_t* codes, const uint16_t* scale,
                        const uint16_t* minimum, int group, int head_dim, float* out) {
  for (int d = 0; d < head_dim; ++d) {
    for (int r = 0; r < kTile; ++r) {
      const int g = d * (kTile / group) + r / group;
      out[d * kTile + r] = std::fma(code_at(codes + d * (bits * kTile / 8), bits, r),
                                    f16_to_float(scale[g]), f16_to_float(minimum[g]));
    }
  }
}

void score_keys_int(int bits, const uint8_t* codes, const uint16_t* scale, const uint16_t* minimum,
                    int group, int head_dim, const float* cos, const float* sin, int rotary_dim,
                    const KeyProduct& product) {
  std::vector<float> keys(static_cast<size_t>(head_dim) * kTile);
  load_keys_int(bits, codes, scale, minimum, group, head_dim, 1, cos, sin, rotary_dim, keys.data());
  score(keys, head_dim, product);
}

void load_values_int(int bits, const uint8_t* codes, const uint16_t* scale, const uint16_t* minimum,
                     int group, int n, int head_dim, float* out) {
  const int stride = padded(head_dim);
  const int row_bytes = (head_dim * bits + 7) / 8;
  const int n_groups = (head_dim + group - 1) / group;
  for (int r = 0; r < n; ++r) {
    for (int d = 0; d < head_dim; ++d) {
      const int g = r * n_groups + d / group;
      out[r * stride + d] = std::fma(code_at(codes + r * row_bytes, bits, d),
                                     f16_to_float(scale[g]), f16_to_float(minimum[g]));
    }
    for (int d = head_dim; d < stride; ++d) out[r * stride + d] = 0.0f;
  }
}

void decode_rows(const CodeRows& in, int n_rows, int n_columns, float* out, int64_t stride) {
  for (int r = 0; r < n_rows; ++r) {
    for (int i = 0; i < n_columns; ++i) {
      const int at = r * in.row_step + i * in.step;
      const float code = code_in_string(in.codes + r * in.row_bytes, in.bits, i);
      out[r * stride + i] = value_of(in.value, code, in.scales[at], in.offsets[at]);
    }
  }
}

void weigh_rows(const CodeRows& in, int n_rows, int n_columns, const float* a, int64_t lda, int m,
                float* c, int64_t ldc, bool accumulate) {
  for (int i = 0; i < m; ++i) {
    for (int d = 0; d < n_columns; ++d) {
      float sum = accumulate ? c[i * ldc + d] : 0.0f;
      for (int r = 0; r < n_rows; ++r) {
        const float code = code_in_string(in.codes + r * in.row_bytes, in.bits, d);
        const int at = r * in.row_step + d * in.step;
        sum =
            std::fma(a[i * lda + r], value_of(in.value, code, in.scales[at], in.offsets[at]), sum);
      }
      c[i * ldc + d] = sum;
    }
  }
}

void decode_transposed(const CodeRows& in, int n_rows, int n_columns, float* out) {
  for (int c = 0; c < n_columns; ++c) {
    for (int r = 0; r < kTile; ++r) {
      const int row = std::min(r, n_rows - 1), at = row * in.row_step + c * in.step;
      const float code = code_in_string(in.codes + row * in.row_bytes, in.bits, c);
      out[c * kTile + r] = value_of(in.value, code, in.scales[at], in.offsets[at]);
    }
  }
}

void hadamard(float* x, int n, int block) {
  mix(x, n, 1, 1, block);
  const float factor = 1.0f / std::sqrt(static_cast<float>(block));
  for (int i = 0; i < n; ++i) x[i] *= factor;
}

}  // namespace kv::scalar
