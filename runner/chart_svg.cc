#include "runner/chart_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace kv {
namespace {

constexpr double kPanelWidth = 460, kPanelHeight = 330;
constexpr double kLeft = 66, kRight = 18, kTop = 34,
                 kBottom = 50;  // inside a panel, around its axes
constexpr double kTitleHeight = 40, kLegendRow = 22, kLegendColumn = 220, kMargin = 16;

// Okabe and Ito's colours for all kinds of colour vision, darkened where they would be faint on
// white.
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#b8578f",
                                    "#b07d00", "#3f8fc4", "#6a3d9a", "#7a4a21"};
constexpr size_t kColourCount = std::size(kColours);
constexpr const char* kReferenceColour = "#555555";

std::string escape(const std::string& text) {
  std::string safe;
  for (char c : text) {
    if (c == '&')
      safe += "&amp;";
    else if (c == '<')
      safe += "&lt;";
    else if (c == '>')
      safe += "&gt;";
    else if (c == '"')
      safe += "&quot;";
    else
      safe += c;
  }
  return safe;
}

std::string text_at(double x, double y, const std::string& text, const char* attributes) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes,
                     escape(text));
}

// From data to positions along one axis.
struct Scale {
  double low = 0, high = 1;  // of the data, or of their logarithms
  double from = 0, to = 1;   // in pixels
  double base = 0;           // of the logarithm; 0: linear

  double unscaled(double value) const {
    return base > 0 ? std::log(value) / std::log(base) : value;
  }
  double operator()(double value) const {
    return from + (unscaled(value) - low) / (high - low) * (to - from);
  }
  double clamped(double value) const {
    if (base > 0 && value <= 0) return from;
    const double place = (*this)(value);
    return std::clamp(place, std::min(from, to), std::max(from, to));
  }
};

struct Tick {
  double value;
  std::string label;
};

// At most six steps of 1, 2 or 5 times a power of ten.
double nice_step(double span) {
  const double power = std::pow(10, std::floor(std::log10(span / 4)));
  for (double factor : {1.0, 2.0, 5.0}) {
    if (factor * power * 6 >= span) return factor * power;
  }
  return 10 * power;
}

bool finite(const ChartPoint& point) {
  return std::isfinite(point.x) && std::isfinite(point.y);
}

template <typename Visit>
void for_each_point(const ChartPanel& panel, Visit visit) {
  for (const ChartSeries& series : panel.series) {
    for (const ChartPoint& point : series.points) {
      if (finite(point)) visit(point);
    }
  }
}

Scale x_scale(const ChartPanel& panel, double left) {
  Scale scale{0, 0, left + kLeft, left + kPanelWidth - kRight, 2};
  for_each_point(panel, [&](const ChartPoint& point) {
    scale.low = std::min(scale.low, std::floor(std::log2(point.x) - 0.05));
    scale.high = std::max(scale.high, std::log2(point.x));
  });
  scale.low = std::min(scale.low, -1.0);
  scale.high += 0.15;  // the full cache's marker stands clear of the frame
  return scale;
}

Scale y_scale(const ChartPanel& panel, double top) {
  Scale scale{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
              top + kPanelHeight - kBottom, top + kTop, panel.log_y ? 10.0 : 0.0};
  const auto include = [&](double value) {
    if (!std::isfinite(value) || (panel.log_y && value <= 0)) return;
    scale.low = std::min(scale.low, scale.unscaled(value));
    scale.high = std::max(scale.high, scale.unscaled(value));
  };
  for_each_point(panel, [&](const ChartPoint& point) {
    include(point.y);
    include(point.low);
    include(point.high);
  });
  if (scale.low > scale.high) scale.low = 0, scale.high = 1;
  double room = 0.06 * (scale.high - scale.low);
  if (room == 0) room = std::max(0.1 * std::abs(scale.low), 0.05);
  scale.low -= room;
  scale.high += room;
  return scale;
}

std::vector<Tick> x_ticks(const Scale& scale) {
  std::vector<Tick> ticks;
  for (double power = std::ceil(scale.low); power <= scale.high; ++power) {
    ticks.push_back({std::exp2(power), fmt::format("{:g} %", 100 * std::exp2(power))});
  }
  return ticks;
}

std::vector<Tick> y_ticks(const Scale& scale) {
  std::vector<Tick> ticks;
  if (scale.base == 0) {
    const double step = nice_step(scale.high - scale.low);
    for (double i = std::ceil(scale.low / step); i * step <= scale.high; ++i) {
      const double value = i == 0 ? 0 : i * step;  // never -0
      ticks.push_back({value, fmt::format("{:g}", value)});
    }
    return ticks;
  }
  const bool wide = scale.high - scale.low > 4;  // more than four decades: their starts are enough
  for (double power = std::floor(scale.low); power <= scale.high; ++power) {
    for (double factor : {1.0, 2.0, 5.0}) {
      const double value = factor * std::pow(10, power);
      const double place = std::log10(value);
      if (place < scale.low || place > scale.high || (wide && factor > 1)) continue;
      ticks.push_back({value, fmt::format("{:g}", value)});
    }
  }
  return ticks;
}

std::string axes(const ChartPanel& panel, const Scale& x, const Scale& y) {
  std::string svg;
  for (const Tick& tick : x_ticks(x)) {
    const double at = x(tick.value);
    svg += fmt::format("<path d=\"M{:.1f} {:.1f}V{:.1f}\" class=\"grid\"/>\n", at, y.from, y.to);
    svg += text_at(at, y.from + 18, tick.label, "class=\"tick\" text-anchor=\"middle\"");
  }
  for (const Tick& tick : y_ticks(y)) {
    const double at = y(tick.value);
    svg += fmt::format("<path d=\"M{:.1f} {:.1f}H{:.1f}\" class=\"grid\"/>\n", x.from, at, x.to);
    svg += text_at(x.from - 8, at + 4, tick.label, "class=\"tick\" text-anchor=\"end\"");
  }
  svg += fmt::format("<path d=\"M{0:.1f} {1:.1f}V{2:.1f}H{3:.1f}\" class=\"axis\"/>\n", x.from,
                     y.to, y.from, x.to);
  const double middle = (x.from + x.to) / 2;
  svg += text_at(middle, y.to - 12, panel.title, "class=\"panel\" text-anchor=\"middle\"");
  svg += text_at(middle, y.from + 38, panel.x_label, "text-anchor=\"middle\"");
  const double side = x.from - 50, centre = (y.from + y.to) / 2;
  svg += text_at(
      side, centre, panel.y_label,
      fmt::format("text-anchor=\"middle\" transform=\"rotate(-90 {:.1f} {:.1f})\"", side, centre)
          .c_str());
  return svg;
}

// Shapes tell lines apart where colours do not. kind: 0, 1, ...
std::string marker(double x, double y, size_t kind, const std::string& colour) {
  constexpr double kSize = 4.5;
  switch (kind % 4) {
    case 0:
      return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" fill=\"{}\"/>\n", x, y,
                         kSize, colour);
    case 1:
      return fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{}\" height=\"{}\" fill=\"{}\"/>\n", x - kSize,
          y - kSize, 2 * kSize, 2 * kSize, colour);
    case 2:
      return fmt::format("<path d=\"M{:.1f} {:.1f}l5.5 9.5h-11z\" fill=\"{}\"/>\n", x, y - 6,
                         colour);
    default:
      return fmt::format("<path d=\"M{:.1f} {:.1f}l6 6l-6 6l-6 -6z\" fill=\"{}\"/>\n", x, y - 6,
                         colour);
  }
}

struct Look {
  std::string colour;
  size_t shape = 0;
  const char* dashes = "none";
};

Look look_of(size_t index, bool reference) {
  if (reference) return {kReferenceColour, 3, "none"};
  const size_t round = index / kColourCount;
  constexpr const char* kDashes[] = {"none", "7 4", "2 3", "9 3 2 3"};
  return {kColours[index % kColourCount], index + round, kDashes[round % 4]};
}

std::string draw_series(const ChartSeries& series, const Look& look, const Scale& x,
                        const Scale& y) {
  std::string line, rest;
  for (const ChartPoint& point : series.points) {
    if (!finite(point)) continue;
    const double px = x(point.x), py = y.clamped(point.y);
    line += fmt::format("{}{:.1f} {:.1f}", line.empty() ? "M" : "L", px, py);
    if (point.low < point.high) {
      rest += fmt::format(
          "<path d=\"M{0:.1f} {1:.1f}V{2:.1f}\" stroke=\"{3}\" stroke-width=\"1.2\" "
          "opacity=\"0.45\"/>\n",
          px, y.clamped(point.low), y.clamped(point.high), look.colour);
    }
    rest += marker(px, py, look.shape, look.colour);
    if (series.reference && line[0] == 'M' && line.find('L') == std::string::npos) {
      rest += fmt::format(
          "<path d=\"M{:.1f} {:.1f}H{:.1f}\" stroke=\"{}\" stroke-dasharray=\"5 4\" "
          "stroke-width=\"1\"/>\n",
          x.from, py, x.to, look.colour);
    }
  }
  if (line.empty()) return "";
  return fmt::format(
             "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" "
             "stroke-dasharray=\"{}\"/>\n",
             line, look.colour, look.dashes) +
         rest;
}

// Labels in the order of their first appearance, each with its look.
std::vector<std::pair<std::string, Look>> legend_of(const std::vector<ChartPanel>& panels) {
  std::vector<std::pair<std::string, Look>> legend;
  size_t colours = 0;
  for (const ChartPanel& panel : panels) {
    for (const ChartSeries& series : panel.series) {
      const auto same = [&](const auto& entry) { return entry.first == series.label; };
      if (std::any_of(legend.begin(), legend.end(), same)) continue;
      legend.emplace_back(series.label, look_of(colours, series.reference));
      if (!series.reference) ++colours;
    }
  }
  return legend;
}

std::string draw_panel(const ChartPanel& panel, double left, double top,
                       const std::vector<std::pair<std::string, Look>>& legend) {
  const Scale x = x_scale(panel, left), y = y_scale(panel, top);
  std::string svg = axes(panel, x, y);
  for (const ChartSeries& series : panel.series) {
    for (const auto& [label, look] : legend) {
      if (label == series.label) svg += draw_series(series, look, x, y);
    }
  }
  return svg;
}

std::string draw_legend(const std::vector<std::pair<std::string, Look>>& legend, double top,
                        int columns) {
  std::string svg;
  for (size_t i = 0; i < legend.size(); ++i) {
    const double x = kMargin + kLeft + static_cast<double>(i % columns) * kLegendColumn;
    const double y = top + static_cast<double>(i / columns) * kLegendRow;
    const Look& look = legend[i].second;
    svg += fmt::format(
        "<path d=\"M{:.1f} {:.1f}h26\" stroke=\"{}\" stroke-width=\"1.8\" "
        "stroke-dasharray=\"{}\"/>\n",
        x, y, look.colour, look.dashes);
    svg += marker(x + 13, y, look.shape, look.colour);
    svg += text_at(x + 34, y + 4, legend[i].first, "");
  }
  return svg;
}

constexpr const char* kStyle =
    "<style>text{font:13px 'DejaVu "
    "Sans',Helvetica,Arial,sans-serif;fill:#222}.title{font-size:17px;font-weight:bold}"
    ".panel{font-size:14px;font-weight:bold}.tick{font-size:11.5px;fill:#444}.grid{stroke:#e3e3e3;"
    "stroke-width:1}"
    ".axis{stroke:#444;stroke-width:1.2;fill:none}</style>\n";

}  // namespace

std::string chart_svg(const std::string& title, const std::vector<ChartPanel>& panels,
                      int columns) {
  const auto legend = legend_of(panels);
  const int rows = (static_cast<int>(panels.size()) + columns - 1) / columns;
  const double width = 2 * kMargin + columns * kPanelWidth;
  const int legend_columns =
      std::max(1, static_cast<int>((width - 2 * kMargin - kLeft) / kLegendColumn));
  const int legend_rows = (static_cast<int>(legend.size()) + legend_columns - 1) / legend_columns;
  const double legend_top = kTitleHeight + rows * kPanelHeight + 14;
  const double height = legend_top + legend_rows * kLegendRow + kMargin;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 "
      "0 {0:.0f} {1:.0f}\" "
      "role=\"img\">\n<title>{2}</title>\n{3}<rect width=\"100%\" height=\"100%\" "
      "fill=\"#ffffff\"/>\n",
      width, height, escape(title), kStyle);
  svg += text_at(width / 2, 26, title, "class=\"title\" text-anchor=\"middle\"");
  for (size_t i = 0; i < panels.size(); ++i) {
    svg += draw_panel(panels[i], kMargin + static_cast<double>(i % columns) * kPanelWidth,
                      kTitleHeight + static_cast<double>(i / columns) * kPanelHeight, legend);
  }
  return svg + draw_legend(legend, legend_top, legend_columns) + "</svg>\n";
}

}  // namespace kv
