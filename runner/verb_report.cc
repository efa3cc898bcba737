#include <algorithm>
#include <filesystem>

#include "engine/error.h"
#include "runner/manifest.h"
#include "runner/report.h"
#include "runner/report_export.h"
#include "runner/results.h"
#include "runner/verbs.h"

namespace kv {
namespace {

void append_new(std::vector<std::string>& list, const std::vector<std::string>& more) {
  for (const std::string& item : more) {
    if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
  }
}

// Shards of one sweep: the machine is the first folder's, counts add up.
void merge_info(ManifestInfo& into, const ManifestInfo& other) {
  append_new(into.models, other.models);
  append_new(into.compressors, other.compressors);
  append_new(into.tasks, other.tasks);
  into.limits.insert(other.limits.begin(), other.limits.end());
  into.tokens_prefilled += other.tokens_prefilled;
  into.tokens_requested += other.tokens_requested;
  into.started = std::min(into.started, other.started);
  into.finished = std::max(into.finished, other.finished);
  if (into.exit_reason == "done") into.exit_reason = other.exit_reason;
}

}  // namespace

int verb_report(const ReportFlags& flags) {
  if (!flags.format.empty()) check_report_format(flags.format);
  ManifestInfo info;
  std::vector<SampleRecord> records;
  for (size_t i = 0; i < flags.folders.size(); ++i) {
    const std::filesystem::path folder = flags.folders[i];
    const ManifestFile manifest = read_manifest(folder);
    if (i == 0) {
      info = manifest.info;
    } else {
      merge_info(info, manifest.info);
    }
    for (SampleRecord& record : read_records(folder / "samples.jsonl")) {
      if (manifest.fingerprints.count(record.fingerprint) > 0) records.push_back(std::move(record));
    }
  }
  records = latest_records(std::move(records));
  if (records.empty()) throw_data("report: no records in {}", fmt::join(flags.folders, ", "));
  std::filesystem::path out = flags.out.empty() ? flags.folders[0] : flags.out;
  if (!flags.format.empty()) {
    // A folder of its own: kv-canary's RESULTS.md would replace ours.
    if (flags.out.empty()) out /= flags.format;
    fmt::print("{}\n", export_report(flags.format, records, info, out).string());
    return 0;
  }
  std::filesystem::create_directories(out);
  write_reports(records, info, out);
  fmt::print("{}\n", (out / "RESULTS.md").string());
  return 0;
}

}  // namespace kv
