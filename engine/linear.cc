#include "engine/linear.h"

#include <cblas.h>

#include <algorithm>

#include "engine/error.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

// OpenBLAS never starts threads of its own: the one pool is parallel_for's.
void keep_openblas_to_one_thread() {
  static const bool done = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

constexpr int kBlasColumns =
    256;  // outputs of one sgemm call: enough work for a task, few enough to share out

using RowMajor = std::vector<float>;

void blas_matmul(const float* x, int64_t ldx, int m, const RowMajor& weights, const float* bias,
                 float* y, int64_t ldy, int n_out, int n_in) {
  if (m == 0) return;
  parallel_for((n_out + kBlasColumns - 1) / kBlasColumns, [&](int64_t block) {
    const int first = static_cast<int>(block) * kBlasColumns;
    const int n = std::min(kBlasColumns, n_out - first);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, n_in, 1.0f, x, static_cast<int>(ldx),
                weights.data() + static_cast<size_t>(first) * n_in, n_in, 0.0f, y + first,
                static_cast<int>(ldy));
    if (bias == nullptr) return;
    for (int i = 0; i < m; ++i) kernels().add(y + i * ldy + first, bias + first, n);
  });
}

template <typename... Cases>
struct Match : Cases... {
  using Cases::operator()...;
};

}  // namespace

Linear::Linear(int n_out, int n_in, DType dtype, LinearKind kind) : n_out_(n_out), n_in_(n_in) {
  KV_CHECK(kind == LinearKind::kPacked || dtype == DType::kF32, "rows must come as f32, not as {}",
           dtype_name(dtype));
  switch (kind) {
    case LinearKind::kPacked:
      weights_ = std::make_shared<PackedMatrix>(n_out, n_in, dtype);
      break;
    case LinearKind::kInt8:
      weights_ = std::make_shared<Int8Matrix>(n_out, n_in);
      break;
    case LinearKind::kInt4:
      weights_ = std::make_shared<Int4Matrix>(n_out, n_in);
      break;
    case LinearKind::kOpenblas:
      keep_openblas_to_one_thread();
      weights_ = std::make_shared<RowMajor>(static_cast<size_t>(n_out) * n_in);
      break;
  }
}

bool Linear::set_rows(const void* rows, int first, int n) {
  KV_CHECK(first >= 0 && n >= 0 && first + n <= n_out_, "rows {}+{} of {}", first, n, n_out_);
  return std::visit(Match{[&](const std::shared_ptr<PackedMatrix>& matrix) {
                            matrix->pack_rows(rows, first, n);
                            return true;
                          },
                          [&](const std::shared_ptr<Int8Matrix>& matrix) {
                            return matrix->pack_rows(static_cast<const float*>(rows), first, n);
                          },
                          [&](const std::shared_ptr<Int4Matrix>&) {
                            KV_CHECK(false, "four-bit weights come as codes");
                            return false;
                          },
                          [&](const std::shared_ptr<RowMajor>& matrix) {
                            std::copy_n(static_cast<const float*>(rows),
                                        static_cast<size_t>(n) * n_in_,
                                        matrix->data() + static_cast<size_t>(first) * n_in_);
                            return true;
                          }},
                    weights_);
}

bool Linear::set_codes(const uint16_t* scales, const int8_t* codes, int o) {
  const auto* matrix = std::get_if<std::shared_ptr<Int8Matrix>>(&weights_);
  KV_CHECK(matrix && o >= 0 && o < n_out_, "codes of row {} of {}", o, n_out_);
  return (*matrix)->pack_codes(scales, codes, o);
}

bool Linear::set_codes(const float* scales, const float* minimums, const uint8_t* codes, int o) {
  const auto* matrix = std::get_if<std::shared_ptr<Int4Matrix>>(&weights_);
  KV_CHECK(matrix && o >= 0 && o < n_out_, "codes of row {} of {}", o, n_out_);
  return (*matrix)->pack_codes(scales, minimums, codes, o);
}

void Linear::set_bias(const float* bias, int first, int n) {
  KV_CHECK(first >= 0 && n >= 0 && first + n <= n_out_, "bias {}+{} of {}", first, n, n_out_);
  if (bias_.empty()) bias_.assign(static_cast<size_t>(n_out_), 0.0f);
  std::copy(bias, bias + n, bias_.begin() + first);
}

size_t Linear::bytes() const {
  const size_t weights = std::visit(
      Match{[](const std::shared_ptr<RowMajor>& matrix) { return matrix->size() * sizeof(float); },
            [](const auto& matrix) { return matrix ? matrix->bytes() : 0; }},
      weights_);
  return weights + bias_.size() * sizeof(float);
}

void Linear::multiply(const float* x, int64_t ldx, int m, float* y, int64_t ldy) const {
  const float* bias = bias_.empty() ? nullptr : bias_.data();
  std::visit(Match{[&](const std::shared_ptr<RowMajor>& matrix) {
                     blas_matmul(x, ldx, m, *matrix, bias, y, ldy, n_out_, n_in_);
                   },
                   [&](const auto& matrix) { matmul(x, ldx, m, *matrix, bias, y, ldy); }},
             weights_);
}

void Linear::row(int o, float* out) const {
  KV_CHECK(o >= 0 && o < n_out_, "row {} of {}", o, n_out_);
  std::visit(Match{[&](const std::shared_ptr<RowMajor>& matrix) {
                     std::copy_n(matrix->data() + static_cast<size_t>(o) * n_in_, n_in_, out);
                   },
                   [&](const auto& matrix) { matrix->row(o, out); }},
             weights_);
}

}  // namespace kv
