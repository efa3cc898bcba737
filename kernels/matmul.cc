#include "kernels/matmul.h"

#include <algorithm>
#include <cstring>

#include "kernels/half.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

// The activations of a block (kBlockRows x kMaxBlock: 378 KiB) stay in a core's L2 while the
// panels pass by; gemm keeps the part of a panel that it is at in L1.
constexpr int kMaxBlock = PackedMatrix::kMaxBlock;
constexpr int kBlockRows = 126;
// From so many rows on, the activations of a block are copied to rows one cache line longer than
// the block: in place, rows a multiple of 4 KiB apart would share their few sets of L1.
constexpr int kCopyRows = 4;
constexpr int kCopyStride = kMaxBlock + 16;
// For up to so many rows 16-bit weights are widened in registers, once for each block of rows; for more, a
// panel is widened once into float scratch.
constexpr int kRowsWidenedInRegisters = 48;

// Everything that one work unit needs to know.
struct Product {
  const Kernels& kernels;
  const float* x;
  int64_t ldx;
  const PackedMatrix& w;
  ProductOutput out;
};

// What each thread keeps for its units.
struct Scratch {
  alignas(64) float rows[kBlockRows * kCopyStride];  // activations of one block
  alignas(64) float panel[kMaxBlock * kPanel];       // one block of a panel, widened
  alignas(64) float tail[kBlockRows * kPanel];       // the last panel's outputs, see panel_target
};

Scratch& scratch() {
  // A huge page to itself: in small ones its lines would share few of L2's sets.
  static thread_local AlignedBuffer buffer(std::max(sizeof(Scratch), kHugePage));
  return *buffer.as<Scratch>();
}

// Rows of activations, with the elements between two rows.
struct Rows {
  const float* data;
  int64_t stride;
  int n;
};

Rows rows_of_block(const Product& p, Range rows, Range steps, float* copy) {
  const float* x = p.x + rows.first * p.ldx + steps.first;
  if (rows.n < kCopyRows) return {x, p.ldx, rows.n};
  for (int i = 0; i < rows.n; ++i) {
    std::memcpy(copy + i * kCopyStride, x + i * p.ldx,
                static_cast<size_t>(steps.n) * sizeof(float));
  }
  return {copy, kCopyStride, rows.n};
}

// c (a.n, kPanel) = or += a * a panel's block of `steps`.
void multiply_panel(const Product& p, const Rows& a, Range steps, const std::byte* panel, float* c,
                    int64_t ldc) {
  const Kernels& kernels = p.kernels;
  const bool accumulate = steps.first > 0;
  if (p.w.dtype() == DType::kF32) {
    const float* b = reinterpret_cast<const float*>(panel);
    kernels.gemm_f32(a.data, a.stride, a.n, steps.n, b, kPanel, c, ldc, accumulate);
    return;
  }
  const bool f16 = p.w.dtype() == DType::kF16;
  const uint16_t* b = reinterpret_cast<const uint16_t*>(panel);
  if (a.n > kRowsWidenedInRegisters) {
    float* wide = scratch().panel;
    (f16 ? kernels.from_f16 : kernels.from_bf16)(b, static_cast<int64_t>(steps.n) * kPanel, wide);
    kernels.gemm_f32(a.data, a.stride, a.n, steps.n, wide, kPanel, c, ldc, accumulate);
  } else {
    const auto gemm = f16 ? kernels.gemm_f16 : kernels.gemm_bf16;
    gemm(a.data, a.stride, a.n, steps.n, b, kPanel, c, ldc, accumulate);
  }
}

// Columns of the panels, rows of the row block; K in blocks whose partial sums wait in y.
void multiply_unit(const Product& p, Range rows, Range panels) {
  float* tail = scratch().tail;
  for (int block = 0; block < p.w.n_blocks(); ++block) {
    const Range steps = p.w.block(block);
    const Rows a = rows_of_block(p, rows, steps, scratch().rows);
    for (int i = panels.first; i < panels.end(); ++i) {
      const PanelTarget target = panel_target(p.out, rows, i, tail);
      multiply_panel(p, a, steps, p.w.panel(i, block), target.c, target.ldc);
    }
  }
  finish_unit(p.out, rows, panels, tail);
}

}  // namespace

PackedMatrix::PackedMatrix(int n_out, int n_in, DType dtype)
    : n_out_(n_out), n_in_(n_in), dtype_(dtype) {
  data_ = AlignedBuffer(static_cast<size_t>(n_in) * n_panels() * kPanel * dtype_bytes(dtype));
}

namespace {

// Transposes source rows (n, steps), n_in elements apart, into columns column .. column + n - 1 of a panel
// (steps, kPanel).
template <typename T>
void pack_panel(const std::byte* rows, int n, int n_in, int steps, T* panel, int column) {
  constexpr int kSteps = 16;
  for (int first = 0; first < steps; first += kSteps) {
    const int count = std::min(kSteps, steps - first);
    for (int o = 0; o < n; ++o) {
      T values[kSteps];  // the source may lie at any address
      const size_t offset = static_cast<size_t>(o) * n_in + first;
      std::memcpy(values, rows + offset * sizeof(T), static_cast<size_t>(count) * sizeof(T));
      for (int k = 0; k < count; ++k) panel[(first + k) * kPanel + column + o] = values[k];
    }
  }
}

// A whole panel of floats that lie where floats may.
void pack_panel(const float* rows, int n_in, int steps, float* panel) {
  static_assert(kPanel == kTile);
  const float* of[kPanel];
  for (int o = 0; o < kPanel; ++o) of[o] = rows + static_cast<int64_t>(o) * n_in;
  kernels().transpose_rows(of, steps, panel);
}

bool is_aligned(const std::byte* p) {
  return reinterpret_cast<uintptr_t>(p) % alignof(float) == 0;
}

template <typename T>
void read_column(const T* panel, int steps, int column, float (*widen)(T), float* out) {
  for (int k = 0; k < steps; ++k) out[k] = widen(panel[static_cast<size_t>(k) * kPanel + column]);
}

}  // namespace

void PackedMatrix::pack_rows(const void* rows, int first, int n) {
  if (n <= 0) return;
  const int first_panel = first / kPanel;
  const int n_touched = (first + n - 1) / kPanel - first_panel + 1;
  parallel_for(n_touched, [&](int64_t i) {
    const int p = first_panel + static_cast<int>(i);
    const int begin = std::max(first, p * kPanel);
    const int end = std::min(first + n, (p + 1) * kPanel);
    for (int b = 0; b < n_blocks(); ++b) {
      const Range inputs = block(b);
      const size_t offset = static_cast<size_t>(begin - first) * n_in_ + inputs.first;
      const std::byte* source = static_cast<const std::byte*>(rows) + offset * dtype_bytes(dtype_);
      std::byte* target = data_.data() + panel_offset(p, b);
      if (dtype_ == DType::kF32 && end - begin == kPanel && is_aligned(source)) {
        pack_panel(reinterpret_cast<const float*>(source), n_in_, inputs.n,
                   reinterpret_cast<float*>(target));
      } else if (dtype_ == DType::kF32) {
        pack_panel(source, end - begin, n_in_, inputs.n, reinterpret_cast<uint32_t*>(target),
                   begin % kPanel);
      } else {
        pack_panel(source, end - begin, n_in_, inputs.n, reinterpret_cast<uint16_t*>(target),
                   begin % kPanel);
      }
    }
  });
}

void PackedMatrix::row(int o, float* out) const {
  const int column = o % kPanel;
  for (int b = 0; b < n_blocks(); ++b) {
    const std::byte* p = panel(o / kPanel, b);
    const Range inputs = block(b);
    float* to = out + inputs.first;
    switch (dtype_) {
      case DType::kF32:
        read_column<float>(
            reinterpret_cast<const float*>(p), inputs.n, column, [](float x) { return x; }, to);
        break;
      case DType::kF16:
        read_column<uint16_t>(reinterpret_cast<const uint16_t*>(p), inputs.n, column, f16_to_float,
                              to);
        break;
      case DType::kBF16:
        read_column<uint16_t>(reinterpret_cast<const uint16_t*>(p), inputs.n, column, bf16_to_float,
                              to);
        break;
    }
  }
}

void matmul(const float* x, int64_t ldx, int m, const PackedMatrix& w, const float* bias, float* y,
            int64_t ldy) {
  if (m <= 0 || w.n_out() == 0) return;
  const Product product{kernels(), x, ldx, w, {y, ldy, w.n_out(), bias}};
  for_each_unit(m, kBlockRows, w.n_panels(),
                [&](Range rows, Range panels) { multiply_unit(product, rows, panels); });
}

}  // namespace kv
