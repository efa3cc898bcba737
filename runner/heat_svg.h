// Heat maps as SVG text: shares on a grid of named rows and columns.
#pragma once

#include <string>
#include <vector>

#include "runner/chart_svg.h"

namespace kv {

struct HeatMap {
  std::string title;
  std::vector<std::string> columns, rows;   // what stands under and beside them; rows from the top
  std::vector<std::vector<double>> shares;  // (rows)(columns) 0 .. 1; NaN: nothing is known there
};

struct HeatAxes {
  std::string x, y;
};

// `columns` maps in a row, every share written into its cell. Colours run from red for 0 over
// yellow to green for 1; on pages they are the variables --h0 .. --h10 of heat_colours_css.
std::string heat_svg(const std::string& title, const HeatAxes& axes,
                     const std::vector<HeatMap>& maps, int columns, ChartUse use = ChartUse::kFile);

// "--h0:#…;…;--h10:#…"
std::string heat_colours_css();

}  // namespace kv
