// Line charts as SVG text: panels side by side, one legend. No scripts, no fonts of our own.
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
  // The label whose colour, marker and place in the legend it shares; empty: its own.
  std::string colour_of;
  bool dashed = false;  // and hollow markers
};

struct ChartPanel {
  std::string title, x_label, y_label;
  std::vector<ChartSeries>
      series;                    // x > 0 unless linear_x; points that are not finite are left out
  bool log_y = false;            // needs y > 0
  bool linear_x = false;         // else log2 with percentages
  double y_low = 0, y_high = 0;  // the ends of a linear y axis; equal: as the points need
};

enum class ChartUse {
  kFile,  // complete, on an explicit light background: reads the same on light and dark pages
  kPage,  // inside HTML: no background, no title; colours are the page's variables --ink, --soft,
          // --grid and --c0 .. --c7, so that they follow its light and dark scheme
};

// x: base-2 logarithm, ticks as percentages, unless a panel says linear_x. `columns`
// panels in a row.
std::string chart_svg(const std::string& title, const std::vector<ChartPanel>& panels, int columns,
                      ChartUse use = ChartUse::kFile);

// Text with & < > " as entities.
std::string escape_markup(const std::string& text);

}  // namespace kv
