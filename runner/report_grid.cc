#include "runner/report_grid.h"

#include <fmt/format.h>

#include <cstdlib>
#include <limits>
#include <map>
#include <set>

namespace kv {
namespace {

struct NumericLess {
  bool operator()(const std::string& a, const std::string& b) const {
    return std::strtod(a.c_str(), nullptr) < std::strtod(b.c_str(), nullptr);
  }
};
using Names = std::set<std::string, NumericLess>;

struct Mean {
  double sum = 0;
  int n = 0;
};

// "0.1111111111111111" as "0.11".
std::string short_number(const std::string& text) {
  return text.size() <= 4 ? text : fmt::format("{:.2g}", std::strtod(text.c_str(), nullptr));
}

HeatMap map_of(const ReportCell& cell, const std::string& metric, const Names& lengths,
               const Names& depths) {
  std::map<std::pair<std::string, std::string>, Mean> means;
  for (const auto& [id, place] : cell.grid) {
    const Scores& scores = cell.scores.at(id);
    const auto score = scores.find(metric);
    if (score == scores.end()) continue;
    Mean& mean = means[{place.depth, place.length}];
    mean.sum += score->second;
    ++mean.n;
  }
  HeatMap map;
  map.title = cell_title(cell);
  map.columns.assign(lengths.begin(), lengths.end());
  for (const std::string& depth : depths) {
    map.rows.push_back(short_number(depth));
    map.shares.emplace_back();
    for (const std::string& length : lengths) {
      const auto mean = means.find({depth, length});
      map.shares.back().push_back(mean == means.end() ? std::numeric_limits<double>::quiet_NaN()
                                                      : mean->second.sum / mean->second.n);
    }
  }
  return map;
}

}  // namespace

std::vector<HeatMap> grid_maps(const CellTable& table) {
  Names lengths, depths;
  for (const ReportCell* cell : table) {
    for (const auto& [id, place] : cell->grid) {
      lengths.insert(place.length);
      depths.insert(place.depth);
    }
  }
  std::vector<HeatMap> maps;
  if (lengths.empty()) return maps;
  const std::string metric = headline_metric(*table.front());
  for (const ReportCell* cell : table) {
    if (!cell->grid.empty()) maps.push_back(map_of(*cell, metric, lengths, depths));
  }
  return maps;
}

HeatAxes grid_axes(const CellTable& table) {
  const bool words = table.front()->task_spec.find("unit=words") != std::string::npos;
  return {words ? "length, words" : "length, tokens", "depth"};
}

}  // namespace kv
