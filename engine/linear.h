// One weight matrix with its optional bias, multiplied by our own kernels or (gemm: openblas) by
// OpenBLAS.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/matmul.h"

namespace kv {

class Linear {
 public:
  Linear() = default;
  // use_openblas keeps a row-major float copy instead of packed panels.
  Linear(int n_out, int n_in, DType dtype, bool use_openblas);

  // Source rows (n, n_in), row-major, elements of dtype(), become outputs first .. first + n - 1.
  void set_rows(const void* rows, int first, int n);
  void set_bias(const float* bias, int first, int n);  // outputs without a call keep bias 0

  int n_out() const { return n_out_; }
  int n_in() const { return n_in_; }
  size_t bytes() const;
  // The weights, shared: lm_head of a model with tied embeddings.
  Linear share() const { return *this; }

  // y (m, n_out) = x (m, n_in) * W^T + bias; ldx, ldy in elements.
  void multiply(const float* x, int64_t ldx, int m, float* y, int64_t ldy) const;
  // Row o of W as float (n_in).
  void row(int o, float* out) const;

 private:
  int n_out_ = 0, n_in_ = 0;
  std::shared_ptr<PackedMatrix> packed_;           // native
  std::shared_ptr<std::vector<float>> row_major_;  // openblas
  std::vector<float> bias_;                        // empty: none
};

// The embedding table is read by rows; with tied weights its rows come out of the packed output
// matrix.
using Embedding = Linear;

}  // namespace kv
