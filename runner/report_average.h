// The average score of every compressor over the tasks that generate: kvpress's leaderboard view.
#pragma once

#include <string>
#include <vector>

#include "runner/chart_svg.h"
#include "runner/report_cells.h"

namespace kv {

// One compressor that has all tasks of the table.
struct AverageRow {
  const ReportCell* cell = nullptr;  // one of the compressor's, for its names
  double value = 0;                  // the mean of the tasks' scores, each task once
  Interval interval;                 // 95 %
  double difference = 0;             // to the full cache, on the samples that both have
  Interval difference_interval;      // 95 %, paired; no width and 0 for the full cache
  double kv_retained = 0;            // mean over the tasks
  int n = 0;                         // samples, all tasks
};

struct AverageTable {
  std::vector<const ReportCell*> tasks;  // the full cache's cell of each task that counts
  std::vector<AverageRow> rows;          // in the order of the cells, the full cache first
  std::vector<std::string> left_out;     // what does not count and why: Markdown, one for each
};

// A task counts where it generates, the full cache answered it and its headline metric lies in 0..1
// for all samples, higher being better. No rows where nothing counts or nothing is compared with the
// full cache. The rows point into cells.
AverageTable average_table(const std::vector<ReportCell>& cells, const std::string& model);

// What the average is; Markdown.
std::string how_averages_are_made(const AverageTable& table);

// Average against the share of rows removed: a line for each method from the full cache on. What
// removes no rows has no place on this axis. No series where there is nothing to draw.
ChartPanel average_panel(const AverageTable& table, const std::string& model);
// Its name in figures/, without .svg; "" where there is nothing to draw.
std::string average_figure(const AverageTable& table, const std::string& model);

}  // namespace kv
