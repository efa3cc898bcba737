// Weight matrices rounded to eight bits, and their product with rows of activations that are rounded
// to eight bits on the way (W8A8, as llama.cpp multiplies its Q8_0). Not exact: only where asked for.
#pragma once

#include <cstdint>

#include "kernels/aligned.h"
#include "kernels/kernels.h"
#include "kernels/rounded_product.h"

namespace kv {

// W (n_out, n_in) in panels of kPanel outputs, each a run of groups of kInt8Group inputs (see
// kInt8GroupBytes): 17 / 16 bytes a weight. Symmetric: scale = max |w| / 127 rounded to half
// precision, code = w / scale to nearest even. Inputs and outputs past the end are zeros.
class Int8Matrix {
 public:
  Int8Matrix() = default;
  Int8Matrix(int n_out, int n_in);

  int n_out() const { return n_out_; }
  int n_in() const { return n_in_; }
  size_t bytes() const { return data_.size(); }

  // Rounds and packs rows (n, n_in), row-major, as outputs first .. first + n - 1. Calls for
  // different rows may run at the same time. Returns false where a weight is not finite or its
  // group's scale is beyond half precision (|w| > 8.3e6); the matrix is then unusable.
  [[nodiscard]] bool pack_rows(const float* rows, int first, int n);

  // Output o as a file holds it: codes (n_in), and the bits of a half-precision scale for each
  // group. Nothing is rounded. Returns false, as above, where a scale is not finite or a code is
  // -128, which the products cannot take.
  [[nodiscard]] bool pack_codes(const uint16_t* scales, const int8_t* codes, int o);

  // Row o as float (n_in): code * scale.
  void row(int o, float* out) const;

  CodePanels panels() const { return {data_.data(), kInt8GroupBytes, n_out_, n_in_}; }

 private:
  bool pack_row(const float* row, int o);

  int n_out_ = 0, n_in_ = 0;
  AlignedBuffer data_;
};

// As matmul of matmul.h: y (m, n_out) = x (m, n_in) * W^T (+ bias), the same bits for any m, number
// of threads and instruction set.
void matmul(const float* x, int64_t ldx, int m, const Int8Matrix& w, const float* bias, float* y,
            int64_t ldy);

}  // namespace kv
