// One weight matrix with its optional bias, multiplied by our own kernels, as they are or rounded to
// eight bits (weights: int8) or as codes of the file (weights: codes), or by OpenBLAS (gemm: openblas).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/matmul.h"
#include "kernels/matmul_int4.h"
#include "kernels/matmul_int8.h"

namespace kv {

// How products read the weights: packed panels of the given type, panels of codes of eight or four
// bits, or a row-major float copy for OpenBLAS.
enum class LinearKind { kPacked, kInt8, kInt4, kOpenblas };

// Whether products with `weights` (stored, int8, …) round the activations: no exact ones.
inline bool rounds_activations(std::string_view weights) {
  return weights == "int8" || weights == "codes";
}

class Linear {
 public:
  Linear() = default;
  // dtype: of the rows that set_rows takes; f32 unless packed.
  Linear(int n_out, int n_in, DType dtype, LinearKind kind = LinearKind::kPacked);

  // Source rows (n, n_in), row-major, elements of dtype, become outputs first .. first + n - 1.
  // Returns false where eight bits cannot hold them: see Int8Matrix::pack_rows.
  bool set_rows(const void* rows, int first, int n);
  // Output o as codes of a file: see Int8Matrix::pack_codes and Int4Matrix::pack_codes.
  bool set_codes(const uint16_t* scales, const int8_t* codes, int o);
  bool set_codes(const float* scales, const float* minimums, const uint8_t* codes, int o);
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
  // One for each LinearKind; null in a Linear without weights.
  std::variant<std::shared_ptr<PackedMatrix>, std::shared_ptr<Int8Matrix>,
               std::shared_ptr<Int4Matrix>, std::shared_ptr<std::vector<float>>>
      weights_;
  std::vector<float> bias_;  // empty: none
};

// The embedding table is read by rows; with tied weights its rows come out of the packed output
// matrix.
using Embedding = Linear;

}  // namespace kv
