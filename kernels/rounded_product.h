// Products with weights that are codes: the rows of activations are rounded to eight bits on the way.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "kernels/product_units.h"

namespace kv {

// W (n_out, n_in) as panels of kPanel outputs, each a run of groups of kInt8Group inputs.
struct CodePanels {
  const std::byte* data;
  size_t group_bytes;
  int n_out, n_in;

  int n_groups() const { return ceil_div(n_in, kInt8Group); }
  int n_panels() const { return ceil_div(n_out, kPanel); }
  size_t panel_bytes() const { return n_groups() * group_bytes; }
  const std::byte* panel(int p) const { return data + p * panel_bytes(); }
};

// y (m, n_out) = x (m, n_in) * W^T (+ bias): the same bits for any m, number of threads and instruction
// set. product: the kernel for one panel, which knows how its groups lie.
void multiply_rounded(const float* x, int64_t ldx, int m, const CodePanels& w,
                      decltype(Kernels::gemm_int8) product, const float* bias, float* y,
                      int64_t ldy);

}  // namespace kv
