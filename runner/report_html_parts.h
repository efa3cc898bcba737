// Parts of report.html; only report_html*.cc use them.
#pragma once

#include <string>
#include <vector>

#include "runner/report_average.h"
#include "runner/report_cells.h"
#include "runner/report_text.h"
#include "runner/results.h"

namespace kv {

// `code`, **strong** and *emphasis* of our own Markdown as HTML; everything else is escaped.
std::string html_text(const std::string& markdown);

// A table that scrolls inside the page where the screen is narrow. Cells are HTML; the first column
// is the rows' heading.
struct HtmlTable {
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;
};
std::string html_table(const HtmlTable& table, const std::string& caption);

// "<code>snapkv</code> 0.5": short name and share removed.
std::string compressor_html(const ReportCell& cell);

std::string style_html();

// Headline scores of every task of one model, one row for each compressor.
std::string summary_table(const std::vector<ReportCell>& cells, const std::string& model);
// Function lost beside perplexity risen; "" where a model lacks one of them.
std::string degradation_html(const std::vector<ReportCell>& cells, const std::string& model);
// One row for each compressor of the table.
std::string average_rows_html(const AverageTable& table);
// Bytes, times, prefilled tokens: one row for each cell of one model.
std::string cost_table(const std::vector<ReportCell>& cells, const std::string& model);
// Every metric of one task with intervals, and the differences to the full cache.
std::string score_table(const CellTable& table);
// "" where nothing was generated.
std::string answers_html(const CellTable& table);
// Which rows one sample kept, for each compressor that evicts; "" where nothing was evicted.
std::string kept_html(const CellTable& table, const std::vector<SampleRecord>& records);
// The first samples with the full cache's answer above every other one; "" where nothing was
// generated. records: the latest of each sample.
std::string sample_outputs(const CellTable& table, const std::vector<SampleRecord>& records);

}  // namespace kv
