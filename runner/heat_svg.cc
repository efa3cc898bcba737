#include "runner/heat_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace kv {
namespace {

// Pixels: a cell, and the room around a map's cells for the names beside it; in files for its title.
constexpr double kCellWidth = 46, kCellHeight = 34;
constexpr double kLeft = 58, kRight = 14, kTop = 2, kBottom = 46;
constexpr double kMapTitle = 24;
constexpr double kTitle = 40, kMargin = 12;
constexpr double kLetter = 7.8;  // of a title, about
constexpr int kSteps = 10;

using Colour = std::array<int, 3>;
// longctx_bench's: from a needle that is lost to one that is found.
constexpr Colour kLost = {0xF0, 0x49, 0x6E}, kMiddle = {0xEB, 0xB8, 0x39},
                 kFound = {0x0C, 0xD7, 0x9F};

std::string step_colour(int step) {
  const double share = static_cast<double>(step) / kSteps;
  const Colour& from = share < 0.5 ? kLost : kMiddle;
  const Colour& to = share < 0.5 ? kMiddle : kFound;
  const double part = share < 0.5 ? 2 * share : 2 * share - 1;
  std::string text = "#";
  for (size_t i = 0; i < from.size(); ++i) {
    text +=
        fmt::format("{:02x}", static_cast<int>(std::lround(from[i] + part * (to[i] - from[i]))));
  }
  return text;
}

std::string fill_of(double share, ChartUse use) {
  const int step = std::clamp(static_cast<int>(std::lround(share * kSteps)), 0, kSteps);
  return use == ChartUse::kPage ? fmt::format("var(--h{})", step) : step_colour(step);
}

std::string text_at(double x, double y, const std::string& text, const char* attributes) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes,
                     escape_markup(text));
}

// A whole number where the share is one, so that 0.996 does not look like 1.
std::string share_text(double share) {
  return share == std::floor(share) ? fmt::format("{:.0f}", share) : fmt::format("{:.2f}", share);
}

// Wide enough for its title, in files.
double map_width(const HeatMap& map, bool file) {
  const double cells = kCellWidth * static_cast<double>(map.columns.size());
  const double title = file ? kLetter * static_cast<double>(map.title.size()) : 0;
  return kLeft + std::max(cells, title) + kRight;
}

double map_height(const HeatMap& map, bool file) {
  const double cells = kCellHeight * static_cast<double>(map.rows.size());
  return kTop + (file ? kMapTitle : 0) + cells + kBottom;
}

std::string draw_map(const HeatMap& map, const HeatAxes& axes, double left, double top,
                     ChartUse use) {
  const bool file = use == ChartUse::kFile;
  const double x0 = left + kLeft, y0 = top + kTop + (file ? kMapTitle : 0);
  const double width = kCellWidth * static_cast<double>(map.columns.size());
  const double height = kCellHeight * static_cast<double>(map.rows.size());
  std::string svg;
  if (file) svg += text_at(x0, top + 17, map.title, "class=\"panel\"");
  for (size_t r = 0; r < map.rows.size(); ++r) {
    const double y = y0 + kCellHeight * static_cast<double>(r);
    svg +=
        text_at(x0 - 8, y + kCellHeight / 2 + 4, map.rows[r], "class=\"tick\" text-anchor=\"end\"");
    for (size_t c = 0; c < map.columns.size(); ++c) {
      const double share = map.shares[r][c], x = x0 + kCellWidth * static_cast<double>(c);
      if (std::isnan(share)) continue;
      svg += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.0f}\" height=\"{:.0f}\" rx=\"3\" "
          "style=\"fill:{}\"/>\n",
          x + 1, y + 1, kCellWidth - 2, kCellHeight - 2, fill_of(share, use));
      svg += text_at(x + kCellWidth / 2, y + kCellHeight / 2 + 4.5, share_text(share),
                     "class=\"share\" text-anchor=\"middle\"");
    }
  }
  for (size_t c = 0; c < map.columns.size(); ++c) {
    svg += text_at(x0 + kCellWidth * (static_cast<double>(c) + 0.5), y0 + height + 17,
                   map.columns[c], "class=\"tick\" text-anchor=\"middle\"");
  }
  svg += text_at(x0 + width / 2, y0 + height + 37, axes.x, "text-anchor=\"middle\"");
  const double side = left + 14, centre = y0 + height / 2;
  svg += text_at(
      side, centre, axes.y,
      fmt::format("text-anchor=\"middle\" transform=\"rotate(-90 {:.1f} {:.1f})\"", side, centre)
          .c_str());
  return svg;
}

constexpr const char* kStyle =
    "<style>text{font:13px 'DejaVu Sans',Helvetica,Arial,sans-serif;fill:#222}"
    ".title{font-size:17px;font-weight:bold}.panel{font-weight:bold}"
    ".tick{font-size:11.5px;fill:#444}.share{font-size:12px;fill:#1d2127}</style>\n";

}  // namespace

std::string heat_svg(const std::string& title, const HeatAxes& axes,
                     const std::vector<HeatMap>& maps, int columns, ChartUse use) {
  const bool file = use == ChartUse::kFile;
  double map_w = 0, map_h = 0;
  for (const HeatMap& map : maps) {
    map_w = std::max(map_w, map_width(map, file));
    map_h = std::max(map_h, map_height(map, file));
  }
  const double margin = file ? kMargin : 0, head = file ? kTitle : 0;
  columns = std::min(columns, static_cast<int>(maps.size()));
  const int rows = (static_cast<int>(maps.size()) + columns - 1) / columns;
  const double title_width = file ? kLetter * 1.4 * static_cast<double>(title.size()) : 0;
  const double width = 2 * margin + std::max(columns * map_w, title_width);
  const double height = 2 * margin + head + rows * map_h;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\">\n<title>{2}</title>\n",
      width, height, escape_markup(title));
  if (file) {
    svg += kStyle;
    svg += "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
    svg += text_at(width / 2, 28, title, "class=\"title\" text-anchor=\"middle\"");
  }
  for (size_t i = 0; i < maps.size(); ++i) {
    const double left = margin + static_cast<double>(i % columns) * map_w;
    const double top = margin + head + static_cast<double>(i / columns) * map_h;
    svg += draw_map(maps[i], axes, left, top, use);
  }
  return svg + "</svg>\n";
}

std::string heat_colours_css() {
  std::string css;
  for (int step = 0; step <= kSteps; ++step) {
    css += fmt::format("{}--h{}:{}", step == 0 ? "" : ";", step, step_colour(step));
  }
  return css;
}

}  // namespace kv
