#include "kernels/matmul.h"

#include <algorithm>
#include <cstring>

#include "kernels/half.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

// A panel's part of kBlockK inputs (96 KiB as float) stays in a core's L2 while all rows pass over
// it.
constexpr int kBlockK = 768;
// Rows of one work unit: its activations (kBlockRows x kBlockK) stay in L2 beside the panel.
constexpr int kBlockRows = 168;
// From so many rows on, the activations of a block are copied to rows one cache line longer than
// the block: in place, rows a multiple of 4 KiB apart would share their few sets of L1.
constexpr int kCopyRows = 4;
constexpr int kCopyStride = kBlockK + 16;
// From so many rows on, 16-bit panels are widened once into float scratch instead of once for each
// register block.
constexpr int kWidenRows = 48;

int ceil_div(int a, int b) {
  return (a + b - 1) / b;
}

// Everything that one work unit needs to know.
struct Product {
  const Kernels& kernels;
  const float* x;
  int64_t ldx;
  const PackedMatrix& w;
  const float* bias;  // null: none
  float* y;
  int64_t ldy;
};

struct Range {
  int first, n;
};

// Part i of `parts` nearly equal parts of [0, n).
Range part_of(int n, int parts, int i) {
  const int first = static_cast<int>(static_cast<int64_t>(n) * i / parts);
  return {first, static_cast<int>(static_cast<int64_t>(n) * (i + 1) / parts) - first};
}

// What each thread keeps for its units.
struct Scratch {
  alignas(64) float rows[kBlockRows * kCopyStride];  // activations of one block
  alignas(64) float panel[kBlockK * kPanel];         // one block of a panel, widened
  alignas(64) float tail[kBlockRows *
                         kPanel];  // columns of the last panel, of which some are past n_out
};

Scratch& scratch() {
  static thread_local AlignedBuffer buffer(sizeof(Scratch));
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

// c (a.n, kPanel) = or += a * panel[steps].
void multiply_panel(const Product& p, const Rows& a, Range steps, const std::byte* panel, float* c,
                    int64_t ldc) {
  const Kernels& kernels = p.kernels;
  const bool accumulate = steps.first > 0;
  const int64_t offset = static_cast<int64_t>(steps.first) * kPanel;
  if (p.w.dtype() == DType::kF32) {
    const float* b = reinterpret_cast<const float*>(panel) + offset;
    kernels.gemm_f32(a.data, a.stride, a.n, steps.n, b, kPanel, c, ldc, accumulate);
    return;
  }
  const bool f16 = p.w.dtype() == DType::kF16;
  const uint16_t* b = reinterpret_cast<const uint16_t*>(panel) + offset;
  if (a.n >= kWidenRows) {
    float* wide = scratch().panel;
    (f16 ? kernels.from_f16 : kernels.from_bf16)(b, static_cast<int64_t>(steps.n) * kPanel, wide);
    kernels.gemm_f32(a.data, a.stride, a.n, steps.n, wide, kPanel, c, ldc, accumulate);
  } else {
    const auto gemm = f16 ? kernels.gemm_f16 : kernels.gemm_bf16;
    gemm(a.data, a.stride, a.n, steps.n, b, kPanel, c, ldc, accumulate);
  }
}

void add_bias(const Product& p, Range rows, int first, int n) {
  if (p.bias == nullptr) return;
  for (int i = 0; i < rows.n; ++i) {
    p.kernels.add(p.y + (rows.first + i) * p.ldy + first, p.bias + first, n);
  }
}

// Columns of the panels, rows of the row block; K in blocks whose partial sums wait in y.
void multiply_unit(const Product& p, Range rows, Range panels) {
  float* tail = scratch().tail;
  const int n_blocks = std::max(1, ceil_div(p.w.n_in(), kBlockK));
  for (int block = 0; block < n_blocks; ++block) {
    const Range steps = part_of(p.w.n_in(), n_blocks, block);
    const Rows a = rows_of_block(p, rows, steps, scratch().rows);
    for (int i = panels.first; i < panels.first + panels.n; ++i) {
      const bool whole = (i + 1) * kPanel <= p.w.n_out();
      float* c = whole ? p.y + rows.first * p.ldy + i * kPanel : tail;
      multiply_panel(p, a, steps, p.w.panel(i), c, whole ? p.ldy : kPanel);
    }
  }
  const int first = panels.first * kPanel;
  const int end = std::min((panels.first + panels.n) * kPanel, p.w.n_out());
  const int in_tail = end % kPanel;
  for (int i = 0; i < rows.n && in_tail != 0; ++i) {
    std::memcpy(p.y + (rows.first + i) * p.ldy + end - in_tail, tail + i * kPanel,
                static_cast<size_t>(in_tail) * sizeof(float));
  }
  add_bias(p, rows, first, end - first);
}

}  // namespace

PackedMatrix::PackedMatrix(int n_out, int n_in, DType dtype)
    : n_out_(n_out), n_in_(n_in), dtype_(dtype) {
  data_ = AlignedBuffer(static_cast<size_t>(n_panels()) * panel_bytes());
}

namespace {

// Transposes source rows (n, n_in) into columns column .. column + n - 1 of one panel (n_in,
// kPanel).
template <typename T>
void pack_panel(const std::byte* rows, int n, int n_in, T* panel, int column) {
  constexpr int kSteps = 16;
  for (int first = 0; first < n_in; first += kSteps) {
    const int steps = std::min(kSteps, n_in - first);
    for (int o = 0; o < n; ++o) {
      T values[kSteps];  // the source may lie at any address
      const size_t offset = static_cast<size_t>(o) * n_in + first;
      std::memcpy(values, rows + offset * sizeof(T), static_cast<size_t>(steps) * sizeof(T));
      for (int k = 0; k < steps; ++k) panel[(first + k) * kPanel + column + o] = values[k];
    }
  }
}

template <typename T>
void read_row(const T* panel, int n_in, int column, float (*widen)(T), float* out) {
  for (int k = 0; k < n_in; ++k) out[k] = widen(panel[static_cast<size_t>(k) * kPanel + column]);
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
    const std::byte* source = static_cast<const std::byte*>(rows) +
                              static_cast<size_t>(begin - first) * n_in_ * dtype_bytes(dtype_);
    std::byte* target = data_.data() + static_cast<size_t>(p) * panel_bytes();
    if (dtype_ == DType::kF32) {
      pack_panel(source, end - begin, n_in_, reinterpret_cast<uint32_t*>(target), begin % kPanel);
    } else {
      pack_panel(source, end - begin, n_in_, reinterpret_cast<uint16_t*>(target), begin % kPanel);
    }
  });
}

void PackedMatrix::row(int o, float* out) const {
  const std::byte* p = panel(o / kPanel);
  const int column = o % kPanel;
  switch (dtype_) {
    case DType::kF32:
      read_row<float>(
          reinterpret_cast<const float*>(p), n_in_, column, [](float x) { return x; }, out);
      return;
    case DType::kF16:
      read_row<uint16_t>(reinterpret_cast<const uint16_t*>(p), n_in_, column, f16_to_float, out);
      return;
    case DType::kBF16:
      read_row<uint16_t>(reinterpret_cast<const uint16_t*>(p), n_in_, column, bf16_to_float, out);
      return;
  }
}

void matmul(const float* x, int64_t ldx, int m, const PackedMatrix& w, const float* bias, float* y,
            int64_t ldy) {
  if (m <= 0 || w.n_out() == 0) return;
  const Product product{kernels(), x, ldx, w, bias, y, ldy};
  const int row_blocks = ceil_div(m, kBlockRows);
  // A few units for each thread, so that one that comes late does not keep the others waiting.
  const int wanted = 4 * threads();
  const int panel_parts = std::clamp(ceil_div(wanted, row_blocks), 1, w.n_panels());
  parallel_for(static_cast<int64_t>(row_blocks) * panel_parts, [&](int64_t unit) {
    const Range rows = part_of(m, row_blocks, static_cast<int>(unit / panel_parts));
    const Range panels = part_of(w.n_panels(), panel_parts, static_cast<int>(unit % panel_parts));
    multiply_unit(product, rows, panels);
  });
}

}  // namespace kv
