#include "runner/kept_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "runner/chart_svg.h"

namespace kv {
namespace {

// Pixels.
constexpr double kWidth = 384, kLeft = 52, kTop = 6, kBottom = 44, kRight = 10;
constexpr double kTallest = 320;              // of all heads together
constexpr double kHighest = 14, kLowest = 1;  // of one head
constexpr double kBars = 70, kBarGap = 8;     // on the right: how many rows, where heads differ
constexpr size_t kLevels = 16;

// One line for each head of each layer, from the top.
struct Heads {
  std::vector<const std::string*> share;
  std::vector<int64_t> rows;
  int64_t most = 0;
};

Heads heads_of(const KeptRows& kept) {
  Heads heads;
  for (size_t layer = 0; layer < kept.rows.size(); ++layer) {
    for (size_t head = 0; head < kept.rows[layer].size(); ++head) {
      heads.share.push_back(&kept.share[layer][head]);
      heads.rows.push_back(kept.rows[layer][head]);
      heads.most = std::max(heads.most, heads.rows.back());
    }
  }
  return heads;
}

double head_height_of(size_t n_heads) {
  return std::clamp(kTallest / static_cast<double>(n_heads), kLowest, kHighest);
}

double width_of(const KeptRows& kept) {
  return kLeft + kWidth + kRight + (kept.ragged() ? kBarGap + kBars : 0);
}

double height_of(const KeptRows& kept) {
  size_t n_heads = 0;
  for (const auto& layer : kept.rows) n_heads += layer.size();
  return kTop + static_cast<double>(n_heads) * head_height_of(n_heads) + kBottom;
}

// Runs of ranges with the same share as horizontal strokes, one path for each share: thousands of
// rectangles would make the page heavy. Coordinates: ranges and heads.
std::string strokes(const Heads& heads) {
  std::array<std::string, kLevels> paths;
  for (size_t line = 0; line < heads.share.size(); ++line) {
    const std::string& digits = *heads.share[line];
    for (size_t begin = 0; begin < digits.size();) {
      size_t end = begin + 1;
      while (end < digits.size() && digits[end] == digits[begin]) ++end;
      const auto level = static_cast<size_t>(kept_share(digits[begin]) * (kLevels - 1) + 0.5);
      paths[level] += fmt::format("M{} {}h{}", begin, line, end - begin);
      begin = end;
    }
  }
  std::string svg;
  for (size_t level = 1; level < kLevels; ++level) {  // 0: nothing stayed
    if (paths[level].empty()) continue;
    svg += fmt::format("<path d=\"{}\" stroke-opacity=\"{:.2f}\"/>\n", paths[level],
                       static_cast<double>(level) / (kLevels - 1));
  }
  return svg;
}

std::string text_at(double x, double y, const std::string& text, const char* attributes) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes, text);
}

// Layers beside the picture (at most six of them), positions under it.
std::string names(size_t n_layers, double layer_height, double height, int64_t n_context) {
  std::string svg;
  const size_t step = (n_layers + 5) / 6;
  for (size_t layer = 0; layer < n_layers; layer += step) {
    svg += text_at(kLeft - 7, kTop + layer_height * (static_cast<double>(layer) + 0.5) + 4,
                   fmt::format("{}", layer), "class=\"tick\" text-anchor=\"end\"");
  }
  const double under = kTop + height;
  constexpr const char* kAnchors[] = {"start", "middle", "end"};
  for (int i = 0; i < 3; ++i) {
    svg += text_at(kLeft + kWidth * i / 2, under + 16, fmt::format("{}", n_context * i / 2),
                   fmt::format("class=\"tick\" text-anchor=\"{}\"", kAnchors[i]).c_str());
  }
  svg += text_at(kLeft + kWidth / 2, under + 36, "position in the context, tokens",
                 "text-anchor=\"middle\"");
  const double middle = kTop + height / 2;
  svg += text_at(
      14, middle, "layer",
      fmt::format("text-anchor=\"middle\" transform=\"rotate(-90 14 {:.1f})\"", middle).c_str());
  return svg;
}

// How many rows each head kept, the most of all as the full length.
std::string bars(const Heads& heads, double head_height, double height) {
  const double left = kLeft + kWidth + kBarGap;
  std::string path;
  for (size_t line = 0; line < heads.rows.size(); ++line) {
    path += fmt::format("M0 {}h{:.3f}", line,
                        static_cast<double>(heads.rows[line]) / static_cast<double>(heads.most));
  }
  return fmt::format(
             "<g transform=\"translate({:.1f} {:.2f}) scale({:.1f} {:.3f})\" "
             "style=\"stroke:var(--c1)\" stroke-width=\"0.8\"><path d=\"{}\"/></g>\n",
             left, kTop + head_height / 2, kBars, head_height, path) +
         text_at(left, kTop + height + 16, "0", "class=\"tick\"") +
         text_at(left + kBars, kTop + height + 16, fmt::format("{}", heads.most),
                 "class=\"tick\" text-anchor=\"end\"") +
         text_at(left + kBars / 2, kTop + height + 36, "rows", "text-anchor=\"middle\"");
}

}  // namespace

std::string kept_svg(const KeptRows& kept, const std::string& title, int64_t n_context) {
  const Heads heads = heads_of(kept);
  const double head_height = head_height_of(heads.rows.size());
  const double height = static_cast<double>(heads.rows.size()) * head_height;
  const double n_ranges = static_cast<double>(heads.share.front()->size());
  const double width = width_of(kept);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\">\n<title>{2}</title>\n",
      width, kTop + height + kBottom, escape_markup(title));
  svg += fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.2f}\" "
      "style=\"fill:var(--panel)\"/>\n",
      kLeft, kTop, kWidth, height);
  svg += fmt::format(
      "<g transform=\"translate({:.1f} {:.2f}) scale({:.4f} {:.3f})\" "
      "style=\"stroke:var(--c0)\" shape-rendering=\"crispEdges\">\n{}</g>\n",
      kLeft, kTop + head_height / 2, kWidth / n_ranges, head_height, strokes(heads));
  svg += names(kept.rows.size(), height / static_cast<double>(kept.rows.size()), height, n_context);
  if (kept.ragged()) svg += bars(heads, head_height, height);
  return svg + "</svg>\n";
}

std::string kept_file_svg(const std::vector<KeptPicture>& pictures) {
  constexpr double kTitle = 30, kMargin = 12;
  double width = 0, height = kMargin;
  std::string body;
  for (const KeptPicture& picture : pictures) {
    body += text_at(kMargin, height + 16, escape_markup(picture.title), "");
    body += fmt::format("<svg x=\"{:.1f}\" y=\"{:.1f}\"", kMargin, height + kTitle) +
            kept_svg(picture.kept, picture.title, picture.n_context).substr(4);
    // Titles are specs, and some of them are long.
    const double title_width = 7.5 * static_cast<double>(picture.title.size());
    width = std::max({width, width_of(picture.kept), title_width});
    height += kTitle + height_of(picture.kept) + kMargin;
  }
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
             "viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\">\n"
             "<style>:root{{--panel:#eef0f2;--c0:#0072b2;--c1:#d55e00}}text{{font:13px 'DejaVu "
             "Sans',sans-serif;fill:#1d2127}}.tick{{font-size:12px;fill:#59616c}}</style>\n"
             "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
             width + 2 * kMargin, height) +
         body + "</svg>\n";
}

}  // namespace kv
