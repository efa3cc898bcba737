// Line charts as SVG text: panels side by side, one legend. No scripts, no fonts of our own, an
// explicit light background, so that a figure reads the same on light and dark pages.
#pragma once

#include <string>
#include <vector>

namespace kv {

struct ChartPoint {
  double x = 0, y = 0;
  double low = 0, high = 0;  // the whisker; low = high: none
};

struct ChartSeries {
  std::string label;  // equal labels have equal colours in all panels
  std::vector<ChartPoint> points;
  bool reference =
      false;  // drawn in grey, with a dashed line across the panel at its first point's y
};

struct ChartPanel {
  std::string title, x_label, y_label;
  std::vector<ChartSeries> series;  // x > 0 everywhere; points that are not finite are left out
  bool log_y = false;               // needs y > 0
};

// x: base-2 logarithm, ticks as percentages. `columns` panels in a row.
std::string chart_svg(const std::string& title, const std::vector<ChartPanel>& panels, int columns);

}  // namespace kv
