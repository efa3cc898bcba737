// Scores on a grid of lengths and depths, where a task's samples lie on one (passkey).
#pragma once

#include <string>
#include <vector>

#include "runner/heat_svg.h"
#include "runner/report_text.h"

namespace kv {

// One map for each compressor of a task, headline score by depth (downwards) and length; the mean
// over the samples of a place. Empty where the samples lie on no grid.
std::vector<HeatMap> grid_maps(const CellTable& table);

// "length" and "depth", with their units.
HeatAxes grid_axes(const CellTable& table);

}  // namespace kv
