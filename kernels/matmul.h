// Weight matrices, packed once at load, and their product with rows of activations.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/aligned.h"
#include "kernels/kernels.h"
#include "kernels/product_units.h"

namespace kv {

// W (n_out, n_in), stored as panels of kPanel outputs, [input][output % kPanel]; the last panel is padded
// with zeros. Many inputs are parted into blocks, as products are, and a block's panels lie one after the
// other: what is read next is what comes next. 16-bit weights stay 16-bit: widening is exact and happens in
// registers.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  PackedMatrix(int n_out, int n_in, DType dtype);

  int n_out() const { return n_out_; }
  int n_in() const { return n_in_; }
  DType dtype() const { return dtype_; }
  int n_panels() const { return (n_out_ + kPanel - 1) / kPanel; }
  size_t bytes() const { return data_.size(); }

  // Packs source rows (n, n_in), row-major with elements of dtype(), as outputs first .. first + n
  // - 1. Several sources may share one matrix (q, k and v; gate and up): one product then computes
  // all of them.
  void pack_rows(const void* rows, int first, int n);

  // Row o as float (n_in): the embedding look-up of tied weights.
  void row(int o, float* out) const;

  static constexpr int kMaxBlock = 768;  // inputs
  int n_blocks() const { return std::max(1, ceil_div(n_in_, kMaxBlock)); }
  Range block(int b) const { return part_of(n_in_, n_blocks(), b); }
  const std::byte* panel(int p, int b) const { return data_.data() + panel_offset(p, b); }

 private:
  size_t panel_offset(int p, int b) const {
    const Range inputs = block(b);
    const size_t rows = static_cast<size_t>(inputs.first) * n_panels() +
                        static_cast<size_t>(inputs.n) * static_cast<size_t>(p);
    return rows * kPanel * dtype_bytes(dtype_);
  }

  int n_out_ = 0, n_in_ = 0;
  DType dtype_ = DType::kF32;
  AlignedBuffer data_;
};

// y (m, n_out) = x (m, n_in) * W^T (+ bias (n_out), added last, where not null). ldx, ldy: elements
// between rows. Split over panels and row blocks among the threads of parallel_for; the same bits
// for any m and any number of threads. Only the n_out columns of each row of y are written.
void matmul(const float* x, int64_t ldx, int m, const PackedMatrix& w, const float* bias, float* y,
            int64_t ldy);

}  // namespace kv
