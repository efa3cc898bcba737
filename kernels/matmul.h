// Weight matrices, packed once at load, and their product with rows of activations.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/aligned.h"
#include "kernels/kernels.h"

namespace kv {

// W (n_out, n_in), stored as panels of kPanel outputs: element (o, k) at panel o / kPanel, [k][o %
// kPanel]; the last panel is padded with zeros. 16-bit weights stay 16-bit: widening is exact and
// happens in registers.
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

  const std::byte* panel(int p) const { return data_.data() + p * panel_bytes(); }
  size_t panel_bytes() const { return static_cast<size_t>(n_in_) * kPanel * dtype_bytes(dtype_); }

 private:
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
