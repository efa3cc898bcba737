#include "runner/chart_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace kv {
namespace {

constexpr double kLeft = 66, kRight = 18, kBottom = 50;  // inside a panel, around its axes
constexpr double kLegendRow = 22;

// Sizes in pixels. A page's panel is as wide as a telephone's screen, so that its text stays
// readable there.
struct Layout {
  ChartUse use;
  double panel_width, panel_height;
  double top;  // above a panel's axes: its title
  double title_height, margin;
};
constexpr Layout kFileLayout = {ChartUse::kFile, 460, 330, 34, 40, 16};
constexpr Layout kPageLayout = {ChartUse::kPage, 400, 290, 12, 0, 2};

// Okabe and Ito's colours for all kinds of colour vision, darkened where they would be faint on
// white.
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#b8578f",
                                    "#b07d00", "#3f8fc4", "#6a3d9a", "#7a4a21"};
constexpr size_t kColourCount = std::size(kColours);
constexpr const char* kReferenceColour = "#555555";

std::string text_at(double x, double y, const std::string& text, const char* attributes) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes,
                     escape_markup(text));
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

Scale x_scale(const ChartPanel& panel, const Layout& layout, double left) {
  if (panel.linear_x) {
    Scale scale{0, 0, left + kLeft, left + layout.panel_width - kRight, 0};
    for_each_point(panel,
                   [&](const ChartPoint& point) { scale.high = std::max(scale.high, point.x); });
    if (scale.high == 0) scale.high = 1;
    const double room = 0.04 * scale.high;
    scale.low -= room;
    scale.high += room;
    return scale;
  }
  Scale scale{0, 0, left + kLeft, left + layout.panel_width - kRight, 2};
  for_each_point(panel, [&](const ChartPoint& point) {
    scale.low = std::min(scale.low, std::floor(std::log2(point.x) - 0.05));
    scale.high = std::max(scale.high, std::log2(point.x));
  });
  scale.low = std::min(scale.low, -1.0);
  scale.high += 0.15;  // the full cache's marker stands clear of the frame
  return scale;
}

Scale y_scale(const ChartPanel& panel, const Layout& layout, double top) {
  Scale scale{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
              top + layout.panel_height - kBottom, top + layout.top, panel.log_y ? 10.0 : 0.0};
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
  if (panel.y_low < panel.y_high) {
    scale.low = panel.y_low, scale.high = panel.y_high;
    return scale;
  }
  if (scale.low > scale.high) scale.low = 0, scale.high = 1;
  double room = 0.06 * (scale.high - scale.low);
  if (room == 0) room = std::max(0.1 * std::abs(scale.low), 0.05);
  scale.low -= room;
  scale.high += room;
  return scale;
}

std::vector<Tick> linear_ticks(const Scale& scale) {
  std::vector<Tick> ticks;
  const double step = nice_step(scale.high - scale.low);
  for (double i = std::ceil(scale.low / step); i * step <= scale.high; ++i) {
    const double value = i == 0 ? 0 : i * step;  // never -0
    ticks.push_back({value, fmt::format("{:g}", value)});
  }
  return ticks;
}

std::vector<Tick> x_ticks(const Scale& scale) {
  if (scale.base == 0) return linear_ticks(scale);
  std::vector<Tick> ticks;
  for (double power = std::ceil(scale.low); power <= scale.high; ++power) {
    ticks.push_back({std::exp2(power), fmt::format("{:g} %", 100 * std::exp2(power))});
  }
  return ticks;
}

std::vector<Tick> y_ticks(const Scale& scale) {
  std::vector<Tick> ticks;
  if (scale.base == 0) return linear_ticks(scale);
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

std::string axes(const ChartPanel& panel, const Scale& x, const Scale& y, ChartUse use) {
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
  if (use == ChartUse::kFile) {  // a page has its own headings
    svg += text_at(middle, y.to - 12, panel.title, "class=\"panel\" text-anchor=\"middle\"");
  }
  svg += text_at(middle, y.from + 38, panel.x_label, "text-anchor=\"middle\"");
  const double side = x.from - 50, centre = (y.from + y.to) / 2;
  svg += text_at(
      side, centre, panel.y_label,
      fmt::format("text-anchor=\"middle\" transform=\"rotate(-90 {:.1f} {:.1f})\"", side, centre)
          .c_str());
  return svg;
}

struct Look {
  std::string colour;
  size_t shape = 0;
  const char* dashes = "none";
  bool hollow = false;
  const char* background = "#ffffff";
};

// Shapes tell lines apart where colours do not.
std::string marker(double x, double y, const Look& look) {
  constexpr double kSize = 4.5;
  const std::string style = look.hollow
                                ? fmt::format("style=\"fill:{};stroke:{}\" stroke-width=\"1.6\"",
                                              look.background, look.colour)
                                : fmt::format("style=\"fill:{}\"", look.colour);
  switch (look.shape % 4) {
    case 0:
      return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" {}/>\n", x, y, kSize, style);
    case 1:
      return fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{}\" height=\"{}\" {}/>\n",
                         x - kSize, y - kSize, 2 * kSize, 2 * kSize, style);
    case 2:
      return fmt::format("<path d=\"M{:.1f} {:.1f}l5.5 9.5h-11z\" {}/>\n", x, y - 6, style);
    default:
      return fmt::format("<path d=\"M{:.1f} {:.1f}l6 6l-6 6l-6 -6z\" {}/>\n", x, y - 6, style);
  }
}

Look look_of(size_t index, bool reference, ChartUse use) {
  const bool page = use == ChartUse::kPage;
  const char* background = page ? "var(--page)" : "#ffffff";
  if (reference) {
    return {page ? "var(--soft)" : kReferenceColour, 3, "none", false, background};
  }
  const size_t round = index / kColourCount;
  constexpr const char* kDashes[] = {"none", "7 4", "2 3", "9 3 2 3"};
  const size_t colour = index % kColourCount;
  return {page ? fmt::format("var(--c{})", colour) : kColours[colour], index + round,
          kDashes[round % 4], false, background};
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
          "<path d=\"M{0:.1f} {1:.1f}V{2:.1f}\" style=\"stroke:{3}\" stroke-width=\"1.2\" "
          "opacity=\"0.45\"/>\n",
          px, y.clamped(point.low), y.clamped(point.high), look.colour);
    }
    rest += marker(px, py, look);
    if (series.reference && line[0] == 'M' && line.find('L') == std::string::npos) {
      rest += fmt::format(
          "<path d=\"M{:.1f} {:.1f}H{:.1f}\" style=\"stroke:{}\" stroke-dasharray=\"5 4\" "
          "stroke-width=\"1\"/>\n",
          x.from, py, x.to, look.colour);
    }
  }
  if (line.empty()) return "";
  return fmt::format(
             "<path d=\"{}\" fill=\"none\" style=\"stroke:{}\" stroke-width=\"1.8\" "
             "stroke-dasharray=\"{}\"/>\n",
             line, look.colour, look.dashes) +
         rest;
}

struct LegendEntry {
  std::string label;
  Look look;
  bool silent = false;  // shares another one's entry
};
using Legend = std::vector<LegendEntry>;

const Look* find_look(const Legend& legend, const std::string& label) {
  for (const LegendEntry& entry : legend) {
    if (entry.label == label) return &entry.look;
  }
  return nullptr;
}

// Labels in the order of their first appearance, each with its look.
Legend legend_of(const std::vector<ChartPanel>& panels, ChartUse use) {
  Legend legend;
  size_t colours = 0;
  for (const ChartPanel& panel : panels) {
    for (const ChartSeries& series : panel.series) {
      if (find_look(legend, series.label) != nullptr) continue;
      const Look* shared = find_look(legend, series.colour_of);
      Look look = shared != nullptr ? *shared : look_of(colours, series.reference, use);
      if (shared == nullptr && !series.reference) ++colours;
      if (series.dashed) look.dashes = "6 4", look.hollow = true;
      legend.push_back({series.label, look, shared != nullptr});
    }
  }
  return legend;
}

std::string draw_panel(const ChartPanel& panel, const Layout& layout, double left, double top,
                       const Legend& legend) {
  const Scale x = x_scale(panel, layout, left), y = y_scale(panel, layout, top);
  std::string svg = axes(panel, x, y, layout.use);
  for (const ChartSeries& series : panel.series) {
    svg += draw_series(series, *find_look(legend, series.label), x, y);
  }
  return svg;
}

// The entries that are shown.
Legend spoken(const Legend& legend) {
  Legend shown;
  for (const LegendEntry& entry : legend) {
    if (!entry.silent) shown.push_back(entry);
  }
  return shown;
}

// Room for the longest label; its real width depends on the reader's fonts.
double legend_column(const Legend& shown) {
  size_t longest = 16;
  for (const LegendEntry& entry : shown) longest = std::max(longest, entry.label.size());
  return 44 + 7.6 * static_cast<double>(longest);
}

std::string draw_legend(const Legend& shown, double left, double top, int columns) {
  std::string svg;
  for (size_t i = 0; i < shown.size(); ++i) {
    const double x = left + static_cast<double>(i % columns) * legend_column(shown);
    const double y = top + static_cast<double>(i / columns) * kLegendRow;
    const Look& look = shown[i].look;
    svg += fmt::format(
        "<path d=\"M{:.1f} {:.1f}h26\" style=\"stroke:{}\" stroke-width=\"1.8\" "
        "stroke-dasharray=\"{}\"/>\n",
        x, y, look.colour, look.dashes);
    svg += marker(x + 13, y, look);
    svg += text_at(x + 34, y + 4, shown[i].label, "");
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

std::string escape_markup(const std::string& text) {
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

std::string chart_svg(const std::string& title, const std::vector<ChartPanel>& panels, int columns,
                      ChartUse use) {
  const Layout& layout = use == ChartUse::kFile ? kFileLayout : kPageLayout;
  const Legend legend = legend_of(panels, use);
  const Legend shown = spoken(legend);
  const int rows = (static_cast<int>(panels.size()) + columns - 1) / columns;
  const double width = 2 * layout.margin + columns * layout.panel_width;
  const double legend_left = layout.margin + (use == ChartUse::kFile ? kLeft : 8);
  const int legend_columns =
      std::max(1, static_cast<int>((width - legend_left) / legend_column(shown)));
  const int legend_rows = (static_cast<int>(shown.size()) + legend_columns - 1) / legend_columns;
  const double legend_top = layout.title_height + rows * layout.panel_height + 14;
  const double height = legend_top + legend_rows * kLegendRow + layout.margin;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\">\n<title>{2}</title>\n",
      width, height, escape_markup(title));
  if (use == ChartUse::kFile) {
    svg += kStyle;
    svg += "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
    svg += text_at(width / 2, 26, title, "class=\"title\" text-anchor=\"middle\"");
  }
  for (size_t i = 0; i < panels.size(); ++i) {
    const double left = layout.margin + static_cast<double>(i % columns) * layout.panel_width;
    const double top = layout.title_height + static_cast<double>(i / columns) * layout.panel_height;
    svg += draw_panel(panels[i], layout, left, top, legend);
  }
  return svg + draw_legend(shown, legend_left, legend_top, legend_columns) + "</svg>\n";
}

}  // namespace kv
