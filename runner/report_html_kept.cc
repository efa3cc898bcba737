// Which rows stayed, in report.html: a picture for each compressor that evicts.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "runner/chart_svg.h"
#include "runner/kept_rows.h"
#include "runner/report_html_parts.h"

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

std::string kept_svg(const KeptRows& kept, const std::string& title, int64_t n_context) {
  const Heads heads = heads_of(kept);
  const double lines = static_cast<double>(heads.rows.size());
  const double head_height = std::clamp(kTallest / lines, kLowest, kHighest);
  const double height = lines * head_height;
  const double n_ranges = static_cast<double>(heads.share.front()->size());
  const double width = kLeft + kWidth + kRight + (kept.ragged() ? kBarGap + kBars : 0);
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

std::string count_text(const KeptRows& kept, int64_t n_context) {
  if (!kept.ragged()) {
    return fmt::format("{} of {} rows in every head", kept.rows[0][0], n_context);
  }
  int64_t least = n_context, most = 0;
  for (const auto& layer : kept.rows) {
    least = std::min(least, *std::min_element(layer.begin(), layer.end()));
    most = std::max(most, *std::max_element(layer.begin(), layer.end()));
  }
  return fmt::format("{} to {} of {} rows in a head", least, most, n_context);
}

// The numbers behind the bars.
std::string count_table(const KeptRows& kept) {
  HtmlTable table{{"layer"}, {}};
  for (size_t head = 0; head < kept.rows[0].size(); ++head) {
    table.head.push_back(fmt::format("KV head {}", head));
  }
  for (size_t layer = 0; layer < kept.rows.size(); ++layer) {
    table.rows.push_back({fmt::format("{}", layer)});
    for (const int64_t rows : kept.rows[layer])
      table.rows.back().push_back(fmt::format("{}", rows));
  }
  return "<details><summary>Rows of every head</summary>\n" + html_table(table, "") +
         "</details>\n";
}

std::string kept_figure(const ReportCell& cell, const SampleRecord& record) {
  const std::string count = count_text(*record.kept, record.n_context);
  std::string html =
      fmt::format("<figure><figcaption>{}: {}</figcaption>\n", compressor_html(cell), count);
  html += kept_svg(*record.kept, cell_title(cell) + ": " + count, record.n_context);
  if (record.kept->ragged()) html += count_table(*record.kept);
  return html + "</figure>\n";
}

}  // namespace

std::string kept_html(const CellTable& table, const std::vector<SampleRecord>& records) {
  std::string figures, sample;
  for (const ReportCell* cell : table) {
    for (const SampleRecord& record : records) {
      const bool here = record.model == cell->model && record.task_spec == cell->task_spec &&
                        record.spec == cell->spec;
      if (!here || !record.kept) continue;
      figures += kept_figure(*cell, record);
      sample = record.sample_id;
      break;
    }
  }
  if (figures.empty()) return "";
  return fmt::format(
      "<h4>Which rows stayed</h4>\n<p class=\"soft\">Sample {}. A line is one KV head, the heads "
      "of a layer one below the other; the stronger its colour, the larger the share of rows "
      "that stayed in that range of positions. Where heads kept different numbers, bars show how "
      "many.</p>\n<div class=\"heats\">\n{}</div>\n",
      escape_markup(sample), figures);
}

}  // namespace kv
