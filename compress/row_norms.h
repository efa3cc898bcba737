// Norms of the rows of a view, summed in double in channel order.
#pragma once

#include <vector>

#include "engine/kv_policy.h"

namespace kv {

// ||K_r||^2 of the first n_rows rows of keys in tiles of (head_dim, kTile).
std::vector<double> squared_key_norms(const float* tiles, int n_rows, int head_dim);

// The same of a head's keys as attention sees them: RoPE turns the first channels and may multiply them
// (yarn, longrope), the others stay.
std::vector<double> squared_key_norms(const LayerView& view, const LayerView::HeadRows& head);

// ||V_r||^2 of all rows of a head; ||V_r||.
std::vector<double> squared_value_norms(const LayerView::HeadRows& head, int head_dim);
std::vector<double> value_norms(const LayerView::HeadRows& head, int head_dim);

}  // namespace kv
