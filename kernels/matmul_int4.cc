#include "kernels/matmul_int4.h"

#include <cmath>
#include <cstring>

namespace kv {
namespace {

constexpr int kHalf = kInt8Group / 2;

// Offset of the byte that holds inputs k and k + kHalf of a group, k < kHalf.
int code_offset(int k, int column) {
  return 8 * kPanel + (k / 4 * kPanel + column) * 4 + k % 4;
}
// Offsets of a column's scale and minimum.
int scale_offset(int column) {
  return 4 * column;
}
int minimum_offset(int column) {
  return 4 * (kPanel + column);
}

}  // namespace

Int4Matrix::Int4Matrix(int n_out, int n_in) : n_out_(n_out), n_in_(n_in) {
  data_ = AlignedBuffer(static_cast<size_t>(panels().n_panels()) * panels().panel_bytes());
}

bool Int4Matrix::pack_codes(const float* scales, const float* minimums, const uint8_t* codes,
                            int o) {
  std::byte* group = data_.data() + static_cast<size_t>(o / kPanel) * panels().panel_bytes();
  const int column = o % kPanel;
  for (int first = 0; first < n_in_; first += kInt8Group, group += kInt4GroupBytes) {
    if (!std::isfinite(*scales) || !std::isfinite(*minimums)) return false;
    std::memcpy(group + scale_offset(column), scales++, sizeof(float));
    std::memcpy(group + minimum_offset(column), minimums++, sizeof(float));
    const auto code = [&](int k) { return first + k < n_in_ ? codes[first + k] & 15 : 0; };
    for (int k = 0; k < kHalf; ++k)
      group[code_offset(k, column)] = static_cast<std::byte>(code(k) | code(k + kHalf) << 4);
  }
  return true;
}

void Int4Matrix::row(int o, float* out) const {
  const std::byte* group = panels().panel(o / kPanel);
  const int column = o % kPanel;
  for (int first = 0; first < n_in_; first += kInt8Group, group += kInt4GroupBytes) {
    float scale, minimum;
    std::memcpy(&scale, group + scale_offset(column), sizeof(scale));
    std::memcpy(&minimum, group + minimum_offset(column), sizeof(minimum));
    for (int k = 0; k < kInt8Group && first + k < n_in_; ++k) {
      const int both = std::to_integer<int>(group[code_offset(k % kHalf, column)]);
      out[first + k] = static_cast<float>(k < kHalf ? both & 15 : both >> 4) * scale + minimum;
    }
  }
}

void matmul(const float* x, int64_t ldx, int m, const Int4Matrix& w, const float* bias, float* y,
            int64_t ldy) {
  multiply_rounded(x, ldx, m, w.panels(), kernels().gemm_int4, bias, y, ldy);
}

}  // namespace kv
