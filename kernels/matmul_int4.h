// Weight matrices whose four-bit codes stay as a file holds them, and their product with rows of
// activations that are rounded to eight bits on the way. Not exact: only where asked for.
#pragma once

#include <cstdint>

#include "kernels/aligned.h"
#include "kernels/rounded_product.h"

namespace kv {

// W (n_out, n_in) in panels of kPanel outputs, each a run of groups of kInt8Group inputs (see
// kInt4GroupBytes): six bits a weight with scale and minimum. Inputs and outputs past the end are zeros.
class Int4Matrix {
 public:
  Int4Matrix() = default;
  Int4Matrix(int n_out, int n_in);

  int n_out() const { return n_out_; }
  int n_in() const { return n_in_; }
  size_t bytes() const { return data_.size(); }

  // Output o: codes 0 … 15 (n_in), a scale and a minimum for each group; w = code * scale + minimum.
  // Calls for different outputs may run at the same time. Returns false where a scale or a minimum is
  // not finite; the matrix is then unusable.
  [[nodiscard]] bool pack_codes(const float* scales, const float* minimums, const uint8_t* codes,
                                int o);

  // Row o as float (n_in): code * scale + minimum, both operations rounded.
  void row(int o, float* out) const;

  CodePanels panels() const { return {data_.data(), kInt4GroupBytes, n_out_, n_in_}; }

 private:
  int n_out_ = 0, n_in_ = 0;
  AlignedBuffer data_;
};

// As matmul of matmul.h: y (m, n_out) = x (m, n_in) * W^T (+ bias), the same bits for any m, number
// of threads and instruction set.
void matmul(const float* x, int64_t ldx, int m, const Int4Matrix& w, const float* bias, float* y,
            int64_t ldy);

}  // namespace kv
