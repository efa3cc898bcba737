// Words and numbers that RESULTS.md and report.html share. Text for people is Markdown: `code`,
// **strong**, *emphasis*.
#pragma once

#include <string>
#include <vector>

#include "runner/report_cells.h"
#include "runner/results.h"

namespace kv {

// A field of a CSV line, in quotes where it needs them.
std::string csv_field(const std::string& text);
// Four significant digits; "undefined" where there is no number.
std::string number_for_people(double value);
// "0.5000 [0.4012, 0.5988]"
std::string with_interval(const std::string& value, double low, double high);
// The same of a difference, with a sign; "-" where nothing was compared.
std::string difference_text(const PairedDifference& difference);
std::string bytes_text(double bytes);

using CellTable = std::vector<const ReportCell*>;  // the cells of one model and task, `none` first
std::vector<CellTable> cell_tables(const std::vector<ReportCell>& cells);

// The columns of a table: every metric of its cells but the count of tokens, which the protocol
// gives.
std::vector<std::string> table_metrics(const CellTable& table);

// False for measures that already compare with the full cache.
bool has_difference(const std::string& metric);

// The value of a parameter in a canonical text "name(a=1,b=2)"; "" where it is not there. Quotes
// around it are taken off.
std::string spec_parameter(const std::string& canonical, const std::string& name);

// How the task was run: every parameter, and for perplexity what they mean.
std::string protocol_text(const ReportCell& cell);

// Which machine, build and settings; when; what was prefilled.
std::string run_paragraph(const ManifestInfo& manifest);
// "" where nothing was limited.
std::string limits_paragraph(const ManifestInfo& manifest);
std::string how_to_read();
// What the columns of answers compared with the full cache's mean.
std::string how_answers_are_compared();

// One sentence for each metric in which the full cache sits at an end of the scale.
std::vector<std::string> scale_end_sentences(const CellTable& table);

// Policies' and tasks' remarks, and what failed: Markdown, one for each.
std::vector<std::string> remark_lines(const CellTable& table);

}  // namespace kv
