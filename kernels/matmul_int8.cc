#include "kernels/matmul_int8.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/half.h"

namespace kv {
namespace {

// x to the nearest integer, ties to even, for |x| < 2^22: the sum has no bits left for a fraction.
float round_to_even(float x) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23
  return (x + kMagic) - kMagic;
}

// Offset of a code within its group.
int code_offset(int k, int column) {
  return 2 * kPanel + (k / 4 * kPanel + column) * 4 + k % 4;
}

}  // namespace

Int8Matrix::Int8Matrix(int n_out, int n_in) : n_out_(n_out), n_in_(n_in) {
  data_ = AlignedBuffer(static_cast<size_t>(panels().n_panels()) * panels().panel_bytes());
}

bool Int8Matrix::pack_row(const float* row, int o) {
  std::byte* group = data_.data() + static_cast<size_t>(o / kPanel) * panels().panel_bytes();
  const int column = o % kPanel;
  for (int first = 0; first < n_in_; first += kInt8Group, group += kInt8GroupBytes) {
    const int n = std::min(kInt8Group, n_in_ - first);
    float largest = 0;
    for (int k = 0; k < n; ++k) {
      if (!std::isfinite(row[first + k])) return false;
      largest = std::max(largest, std::fabs(row[first + k]));
    }
    const uint16_t half = float_to_f16(largest / 127.0f);
    const float scale = f16_to_float(half);
    if (!std::isfinite(scale)) return false;
    std::memcpy(group + 2 * column, &half, sizeof(half));
    if (scale == 0) continue;
    for (int k = 0; k < n; ++k) {
      const float code = std::clamp(round_to_even(row[first + k] / scale), -127.0f, 127.0f);
      group[code_offset(k, column)] = static_cast<std::byte>(static_cast<int8_t>(code));
    }
  }
  return true;
}

bool Int8Matrix::pack_codes(const uint16_t* scales, const int8_t* codes, int o) {
  std::byte* group = data_.data() + static_cast<size_t>(o / kPanel) * panels().panel_bytes();
  const int column = o % kPanel;
  for (int first = 0; first < n_in_; first += kInt8Group, group += kInt8GroupBytes) {
    const uint16_t half = *scales++;
    if (!std::isfinite(f16_to_float(half))) return false;
    std::memcpy(group + 2 * column, &half, sizeof(half));
    for (int k = 0; k < std::min(kInt8Group, n_in_ - first); ++k) {
      const int8_t code = codes[first + k];
      if (code == -128) return false;
      group[code_offset(k, column)] = static_cast<std::byte>(code);
    }
  }
  return true;
}

bool Int8Matrix::pack_rows(const float* rows, int first, int n) {
  bool fine = true;
  for (int i = 0; i < n; ++i) {
    fine = pack_row(rows + static_cast<int64_t>(i) * n_in_, first + i) && fine;
  }
  return fine;
}

void Int8Matrix::row(int o, float* out) const {
  const std::byte* group = panels().panel(o / kPanel);
  const int column = o % kPanel;
  for (int k = 0; k < n_in_; ++k) {
    if (k > 0 && k % kInt8Group == 0) group += kInt8GroupBytes;
    uint16_t half;
    std::memcpy(&half, group + 2 * column, sizeof(half));
    const auto code = static_cast<int8_t>(group[code_offset(k % kInt8Group, column)]);
    out[k] = static_cast<float>(code) * f16_to_float(half);
  }
}

void matmul(const float* x, int64_t ldx, int m, const Int8Matrix& w, const float* bias, float* y,
            int64_t ldy) {
  multiply_rounded(x, ldx, m, w.panels(), kernels().gemm_int8, bias, y, ldy);
}

}  // namespace kv
