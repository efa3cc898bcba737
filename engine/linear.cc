#include "engine/linear.h"

#include <cblas.h>

#include <algorithm>
#include <cstring>

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

}  // namespace

Linear::Linear(int n_out, int n_in, DType dtype, LinearKind kind) : n_out_(n_out), n_in_(n_in) {
  if (kind == LinearKind::kPacked) {
    packed_ = std::make_shared<PackedMatrix>(n_out, n_in, dtype);
    return;
  }
  KV_CHECK(dtype == DType::kF32, "rows must come as f32, not as {}", dtype_name(dtype));
  if (kind == LinearKind::kInt8) {
    int8_ = std::make_shared<Int8Matrix>(n_out, n_in);
    return;
  }
  if (kind == LinearKind::kInt4) {
    int4_ = std::make_shared<Int4Matrix>(n_out, n_in);
    return;
  }
  keep_openblas_to_one_thread();
  row_major_ = std::make_shared<std::vector<float>>(static_cast<size_t>(n_out) * n_in);
}

bool Linear::set_rows(const void* rows, int first, int n) {
  KV_CHECK(!int4_ && first >= 0 && n >= 0 && first + n <= n_out_, "rows {}+{} of {}", first, n,
           n_out_);
  if (int8_) return int8_->pack_rows(static_cast<const float*>(rows), first, n);
  if (packed_) {
    packed_->pack_rows(rows, first, n);
  } else if (n > 0) {
    std::memcpy(row_major_->data() + static_cast<size_t>(first) * n_in_, rows,
                static_cast<size_t>(n) * n_in_ * sizeof(float));
  }
  return true;
}

bool Linear::set_codes(const uint16_t* scales, const int8_t* codes, int o) {
  KV_CHECK(int8_ && o >= 0 && o < n_out_, "codes of row {} of {}", o, n_out_);
  return int8_->pack_codes(scales, codes, o);
}

bool Linear::set_codes(const float* scales, const float* minimums, const uint8_t* codes, int o) {
  KV_CHECK(int4_ && o >= 0 && o < n_out_, "codes of row {} of {}", o, n_out_);
  return int4_->pack_codes(scales, minimums, codes, o);
}

void Linear::set_bias(const float* bias, int first, int n) {
  KV_CHECK(first >= 0 && n >= 0 && first + n <= n_out_, "bias {}+{} of {}", first, n, n_out_);
  if (bias_.empty()) bias_.assign(static_cast<size_t>(n_out_), 0.0f);
  std::copy(bias, bias + n, bias_.begin() + first);
}

size_t Linear::bytes() const {
  const size_t weights = packed_      ? packed_->bytes()
                         : int8_      ? int8_->bytes()
                         : int4_      ? int4_->bytes()
                         : row_major_ ? row_major_->size() * sizeof(float)
                                      : 0;
  return weights + bias_.size() * sizeof(float);
}

void Linear::multiply(const float* x, int64_t ldx, int m, float* y, int64_t ldy) const {
  const float* bias = bias_.empty() ? nullptr : bias_.data();
  if (packed_) {
    matmul(x, ldx, m, *packed_, bias, y, ldy);
    return;
  }
  if (int8_) {
    matmul(x, ldx, m, *int8_, bias, y, ldy);
    return;
  }
  if (int4_) {
    matmul(x, ldx, m, *int4_, bias, y, ldy);
    return;
  }
  if (m == 0) return;
  parallel_for((n_out_ + kBlasColumns - 1) / kBlasColumns, [&](int64_t block) {
    const int first = static_cast<int>(block) * kBlasColumns;
    const int n = std::min(kBlasColumns, n_out_ - first);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, n_in_, 1.0f, x,
                static_cast<int>(ldx), row_major_->data() + static_cast<size_t>(first) * n_in_,
                n_in_, 0.0f, y + first, static_cast<int>(ldy));
    if (bias == nullptr) return;
    for (int i = 0; i < m; ++i) kernels().add(y + i * ldy + first, bias + first, n);
  });
}

void Linear::row(int o, float* out) const {
  KV_CHECK(o >= 0 && o < n_out_, "row {} of {}", o, n_out_);
  if (packed_) {
    packed_->row(o, out);
  } else if (int8_) {
    int8_->row(o, out);
  } else if (int4_) {
    int4_->row(o, out);
  } else {
    std::memcpy(out, row_major_->data() + static_cast<size_t>(o) * n_in_,
                static_cast<size_t>(n_in_) * sizeof(float));
  }
}

}  // namespace kv
