// How a product y (m, n_out) = x W^T with packed panels is divided among threads: into units of some
// rows and some panels, each of which writes its own part of y.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/kernels.h"
#include "kernels/parallel.h"

namespace kv {

struct Range {
  int first, n;
  int end() const { return first + n; }
};

inline int ceil_div(int a, int b) {
  return (a + b - 1) / b;
}

// Part i of `parts` nearly equal parts of [0, n).
inline Range part_of(int n, int parts, int i) {
  const int first = static_cast<int>(static_cast<int64_t>(n) * i / parts);
  return {first, static_cast<int>(static_cast<int64_t>(n) * (i + 1) / parts) - first};
}

// Calls fn(rows, panels) for every unit, on all threads; at most max_rows rows in one.
template <typename Fn>
void for_each_unit(int m, int max_rows, int n_panels, const Fn& fn) {
  const int row_blocks = ceil_div(m, max_rows);
  // A few units for each thread, so that one that comes late does not keep the others waiting.
  const int panel_parts = std::clamp(ceil_div(4 * threads(), row_blocks), 1, n_panels);
  parallel_for(static_cast<int64_t>(row_blocks) * panel_parts, [&](int64_t unit) {
    fn(part_of(m, row_blocks, static_cast<int>(unit / panel_parts)),
       part_of(n_panels, panel_parts, static_cast<int>(unit % panel_parts)));
  });
}

// What a product writes.
struct ProductOutput {
  float* y;  // (m, n_out), rows ldy floats apart
  int64_t ldy;
  int n_out;
  const float* bias;  // (n_out), null: none
};

// Where the kPanel columns of one panel go: into y, or, where they reach past n_out, into tail
// (rows.n, kPanel).
struct PanelTarget {
  float* c;
  int64_t ldc;
};
PanelTarget panel_target(const ProductOutput& out, Range rows, int panel, float* tail);

// Once all panels of a unit are computed: brings the columns of the tail to y and adds the bias.
void finish_unit(const ProductOutput& out, Range rows, Range panels, const float* tail);

}  // namespace kv
