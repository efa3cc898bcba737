#include "kernels/rounded_product.h"

#include <vector>

namespace kv {
namespace {

// Rows of one work unit: with SmolLM2's 1,536 inputs their codes take 192 KiB of a core's L2.
constexpr int kBlockRows = 128;

// Activations as to_int8 leaves them, row after row.
struct RoundedRows {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;
};

void round_rows(const float* x, int64_t ldx, int m, const CodePanels& w, RoundedRows* rows) {
  const size_t n_groups = static_cast<size_t>(w.n_groups());
  rows->codes.resize(m * n_groups * kInt8Group);
  rows->scales.resize(m * n_groups);
  rows->sums.resize(m * n_groups);
  parallel_for(m, [&](int64_t i) {
    kernels().to_int8(x + i * ldx, w.n_in, rows->codes.data() + i * n_groups * kInt8Group,
                      rows->scales.data() + i * n_groups, rows->sums.data() + i * n_groups);
  });
}

}  // namespace

void multiply_rounded(const float* x, int64_t ldx, int m, const CodePanels& w,
                      decltype(Kernels::gemm_int8) product, const float* bias, float* y,
                      int64_t ldy) {
  if (m <= 0 || w.n_out == 0) return;
  thread_local RoundedRows kept;  // grows and stays
  RoundedRows& rows = kept;
  round_rows(x, ldx, m, w, &rows);
  const int64_t n_groups = w.n_groups();
  const ProductOutput out{y, ldy, w.n_out, bias};
  for_each_unit(m, kBlockRows, w.n_panels(), [&](Range unit, Range panels) {
    alignas(64) float tail[kBlockRows * kPanel];
    const int64_t first = unit.first * n_groups;
    for (int p = panels.first; p < panels.end(); ++p) {
      const PanelTarget target = panel_target(out, unit, p, tail);
      product(rows.codes.data() + first * kInt8Group, rows.scales.data() + first,
              rows.sums.data() + first, unit.n, w.n_groups(), w.panel(p), target.c, target.ldc);
    }
    finish_unit(out, unit, panels, tail);
  });
}

}  // namespace kv
