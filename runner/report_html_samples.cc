// Sample outputs in report.html: the full cache's answer above what each compressor made of it.

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "runner/chart_svg.h"
#include "runner/report_html_parts.h"
#include "runner/stats.h"

namespace kv {
namespace {

constexpr size_t kSamplesShown = 3;

// By spec; the records of one sample.
using Answers = std::map<std::string, const SampleRecord*>;

// s2 before s10.
bool natural_less(const std::string& a, const std::string& b) {
  return a.size() != b.size() ? a.size() < b.size() : a < b;
}
struct NaturalLess {
  bool operator()(const std::string& a, const std::string& b) const { return natural_less(a, b); }
};

std::string scores_text(const SampleRecord& record) {
  std::string text;
  for (const auto& [metric, value] : record.scores) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", metric, number_for_people(value));
  }
  return escape_markup(text);
}

// Bytes of the character that begins at `at`.
size_t character_bytes(const std::string& text, size_t at) {
  size_t end = at + 1;
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
  return end - at;
}

// The part that the full cache wrote as well is faint, the first character that differs is marked.
std::string marked(const std::string& output, const std::string& full) {
  if (output == full) return "<span class=\"same\">" + escape_markup(output) + "</span>";
  const size_t same = common_beginning(output, full);
  std::string html = "<span class=\"same\">" + escape_markup(output.substr(0, same)) + "</span>";
  if (same == output.size()) return html + "<mark>⏹</mark>";  // ends where the other goes on
  const size_t size = character_bytes(output, same);
  std::string first = output.substr(same, size);
  if (first == "\n") first = "↵\n";  // a marked line end would not be seen
  if (first == " ") first = "␣";
  return html + "<mark>" + escape_markup(first) + "</mark>" +
         escape_markup(output.substr(same + size));
}

std::string difference_words(const SampleRecord& record, const SampleRecord* full) {
  if (full == nullptr || full == &record) return "";
  const auto place = first_divergence(record.output_ids, full->output_ids);
  if (place) return fmt::format(", differs after {} tokens", *place);
  return record.output == full->output ? ", same text" : ", differs";  // no ids in old records
}

std::string answer_html(const ReportCell& cell, const SampleRecord& record,
                        const SampleRecord* full) {
  std::string html = fmt::format("<div class=\"answer\"><p>{}: {}", compressor_html(cell),
                                 record.error.empty() ? scores_text(record) : "failed");
  html += difference_words(record, full) + fmt::format(", {} tokens</p>\n<pre>", record.n_tokens);
  if (!record.error.empty()) return html + escape_markup(record.error) + "</pre></div>\n";
  html += full != nullptr && full != &record ? marked(record.output, full->output)
                                             : escape_markup(record.output);
  return html + "</pre></div>\n";
}

}  // namespace

std::string sample_outputs(const CellTable& table, const std::vector<SampleRecord>& records) {
  std::map<std::string, Answers, NaturalLess> samples;
  for (const SampleRecord& record : records) {
    const bool here =
        record.model == table.front()->model && record.task_spec == table.front()->task_spec;
    if (here && record.stop_reason != "scored" && !(record.output.empty() && record.error.empty()))
      samples[record.sample_id][record.spec] = &record;
  }
  if (samples.empty()) return "";
  std::string html = fmt::format(
      "<h4>Sample outputs</h4>\n<p class=\"soft\">The first {} of {} samples. Faint: as the full "
      "cache wrote; marked: the first character that differs.</p>\n",
      std::min(kSamplesShown, samples.size()), samples.size());
  size_t shown = 0;
  for (const auto& [id, answers] : samples) {
    if (shown++ == kSamplesShown) break;
    const auto baseline = answers.find("none");
    const SampleRecord* full = baseline == answers.end() ? nullptr : baseline->second;
    html += fmt::format("<details{}><summary>{}</summary>\n", shown == 1 ? " open" : "",
                        escape_markup(id));
    for (const ReportCell* cell : table) {
      const auto record = answers.find(cell->spec);
      if (record != answers.end()) html += answer_html(*cell, *record->second, full);
    }
    html += "</details>\n";
  }
  return html;
}

}  // namespace kv
