#include "kernels/product_units.h"

#include <cstring>

namespace kv {

PanelTarget panel_target(const ProductOutput& out, Range rows, int panel, float* tail) {
  const int end = (panel + 1) * kPanel;
  if (end > out.n_out) return {tail, kPanel};
  return {out.y + rows.first * out.ldy + end - kPanel, out.ldy};
}

void finish_unit(const ProductOutput& out, Range rows, Range panels, const float* tail) {
  const int first = panels.first * kPanel, end = std::min(panels.end() * kPanel, out.n_out);
  const int in_tail = end % kPanel;
  for (int i = 0; i < rows.n; ++i) {
    float* y = out.y + (rows.first + i) * out.ldy;
    if (in_tail != 0) {
      std::memcpy(y + end - in_tail, tail + i * kPanel,
                  static_cast<size_t>(in_tail) * sizeof(float));
    }
    if (out.bias != nullptr) kernels().add(y + first, out.bias + first, end - first);
  }
}

}  // namespace kv
