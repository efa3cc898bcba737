#include "kernels/matmul_int8.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/half.h"
#include "kernels/parallel.h"
#include "kernels/product_units.h"

namespace kv {
namespace {

// Rows of one work unit: with SmolLM2's 1,536 inputs their codes take 192 KiB of a core's L2.
constexpr int kBlockRows = 128;

// x to the nearest integer, ties to even, for |x| < 2^22: the sum has no bits left for a fraction.
float round_to_even(float x) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23
  return (x + kMagic) - kMagic;
}

// Offset of a code within its group.
int code_offset(int k, int column) {
  return 2 * kPanel + (k / 4 * kPanel + column) * 4 + k % 4;
}

// Activations as to_int8 leaves them, row after row.
struct Int8Rows {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;
};

void round_rows(const float* x, int64_t ldx, int m, const Int8Matrix& w, Int8Rows* rows) {
  const size_t n_groups = static_cast<size_t>(w.n_groups());
  rows->codes.resize(m * n_groups * kInt8Group);
  rows->scales.resize(m * n_groups);
  rows->sums.resize(m * n_groups);
  parallel_for(m, [&](int64_t i) {
    kernels().to_int8(x + i * ldx, w.n_in(), rows->codes.data() + i * n_groups * kInt8Group,
                      rows->scales.data() + i * n_groups, rows->sums.data() + i * n_groups);
  });
}

}  // namespace

Int8Matrix::Int8Matrix(int n_out, int n_in) : n_out_(n_out), n_in_(n_in) {
  data_ = AlignedBuffer(static_cast<size_t>(n_panels()) * panel_bytes());
}

bool Int8Matrix::pack_row(const float* row, int o) {
  std::byte* group = data_.data() + static_cast<size_t>(o / kPanel) * panel_bytes();
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
  std::byte* group = data_.data() + static_cast<size_t>(o / kPanel) * panel_bytes();
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
  const std::byte* group = panel(o / kPanel);
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
  if (m <= 0 || w.n_out() == 0) return;
  thread_local Int8Rows kept;  // grows and stays
  Int8Rows& rows = kept;
  round_rows(x, ldx, m, w, &rows);
  const int64_t n_groups = w.n_groups();
  const ProductOutput out{y, ldy, w.n_out(), bias};
  for_each_unit(m, kBlockRows, w.n_panels(), [&](Range unit, Range panels) {
    alignas(64) float tail[kBlockRows * kPanel];
    const int64_t first = unit.first * n_groups;
    for (int p = panels.first; p < panels.end(); ++p) {
      const PanelTarget target = panel_target(out, unit, p, tail);
      kernels().gemm_int8(rows.codes.data() + first * kInt8Group, rows.scales.data() + first,
                          rows.sums.data() + first, unit.n, w.n_groups(), w.panel(p), target.c,
                          target.ldc);
    }
    finish_unit(out, unit, panels, tail);
  });
}

}  // namespace kv
