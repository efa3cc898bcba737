#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "runner/compare.h"
#include "runner/manifest.h"
#include "runner/report_text.h"
#include "runner/verbs.h"

namespace kv {
namespace {

using Json = nlohmann::ordered_json;

// The records of the run's own cells, not those of earlier configs in the same folder.
std::vector<SampleRecord> run_records(const std::filesystem::path& folder) {
  const ManifestFile manifest = read_manifest(folder);
  std::vector<SampleRecord> records;
  for (SampleRecord& record : read_records(folder / "samples.jsonl")) {
    if (manifest.fingerprints.count(record.fingerprint) > 0) records.push_back(std::move(record));
  }
  return latest_records(std::move(records));
}

Json number_or_null(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json json_cell(const ComparedCell& cell) {
  Json metrics = Json::object();
  for (const std::string& name : cell.metric_order) {
    const ComparedMetric& metric = cell.metrics.at(name);
    metrics[name] = {{"a", number_or_null(metric.a)},
                     {"b", number_or_null(metric.b)},
                     {"difference", number_or_null(metric.difference.value)},
                     {"ci_low", number_or_null(metric.difference.interval.low)},
                     {"ci_high", number_or_null(metric.difference.interval.high)},
                     {"n", metric.difference.n}};
  }
  Json first = nullptr;
  if (cell.first_difference) {
    const auto& token = cell.first_difference->token;
    first = {{"sample_id", cell.first_difference->sample_id},
             {"same_text", cell.first_difference->same_text},
             {"token", token ? Json(*token) : Json(nullptr)}};
  }
  return {{"model", cell.model},
          {"task", cell.task},
          {"compressor", cell.compressor},
          {"task_spec", cell.task_spec},
          {"spec", cell.spec},
          {"samples",
           {{"common", cell.n_common}, {"only_a", cell.n_only_a}, {"only_b", cell.n_only_b}}},
          {"same_logits", cell.n_same_logits},
          {"same_fingerprint", cell.fingerprint_note.empty()},
          {"first_difference", first},
          {"metrics", metrics}};
}

std::string as_json(const Comparison& comparison, const CompareFlags& flags) {
  Json json = {{"a", flags.a}, {"b", flags.b}, {"cells", Json::array()}};
  for (const ComparedCell& cell : comparison.cells) json["cells"].push_back(json_cell(cell));
  json["only_a"] = comparison.only_a;
  json["only_b"] = comparison.only_b;
  return json.dump(1) + "\n";
}

std::string first_difference_text(const ComparedCell& cell) {
  if (cell.n_common == 0) return "no common samples";
  if (!cell.first_difference) return "none";
  const FirstDifference& first = *cell.first_difference;
  if (first.token) return fmt::format("{}, token {}", first.sample_id, *first.token);
  return first.sample_id + (first.same_text ? ", in its logits" : ", in its text");
}

// Columns as wide as their longest text.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

// The short name where it says which cell is meant, else the canonical form.
std::string compressor_text(const ComparedCell& cell, const Comparison& comparison) {
  for (const ComparedCell& other : comparison.cells) {
    const bool alike = other.compressor == cell.compressor && other.model == cell.model &&
                       other.task_spec == cell.task_spec &&
                       other.compression_ratio == cell.compression_ratio;
    if (alike && other.spec != cell.spec) return cell.spec;
  }
  return cell.compression_ratio > 0
             ? fmt::format("{} {}", cell.compressor, number_text(cell.compression_ratio))
             : cell.compressor;
}

// One line for all cells that it is true of.
std::string grouped_notes(const Comparison& comparison) {
  std::vector<std::pair<std::string, int>> notes;
  const auto add = [&](const std::string& note) {
    for (auto& [known, count] : notes) {
      if (known == note) {
        ++count;
        return;
      }
    }
    notes.emplace_back(note, 1);
  };
  for (const ComparedCell& cell : comparison.cells) {
    const std::string place = cell.model + " / " + cell.task_spec;
    if (!cell.fingerprint_note.empty()) add(place + ": " + cell.fingerprint_note);
    if (cell.n_only_a + cell.n_only_b == 0) continue;
    add(fmt::format("{}: {} samples only in A, {} only in B", place, cell.n_only_a, cell.n_only_b));
  }
  std::string text;
  for (const auto& [note, count] : notes) text += fmt::format("{} ({} cells)\n", note, count);
  return text;
}

std::string as_text(const Comparison& comparison, const CompareFlags& flags) {
  std::vector<std::vector<std::string>> rows = {
      {"model", "task", "compressor", "metric", "A", "B", "B - A [95 %]", "n", "first difference"}};
  for (const ComparedCell& cell : comparison.cells) {
    for (const std::string& name : cell.metric_order) {
      if (name == "tokens") continue;  // how much was scored, no score
      const ComparedMetric& metric = cell.metrics.at(name);
      const bool first = name == cell.metric_order.front();
      rows.push_back({cell.model, cell.task, compressor_text(cell, comparison), name,
                      number_for_people(metric.a), number_for_people(metric.b),
                      difference_text(metric.difference), fmt::format("{}", metric.difference.n),
                      first ? first_difference_text(cell) : ""});
    }
  }
  std::string text =
      fmt::format("A: {}\nB: {}\nValues of the samples that both have.\n\n", flags.a, flags.b);
  text += comparison.cells.empty() ? "No cell is in both folders.\n" : aligned(rows);
  std::string notes = grouped_notes(comparison);
  for (const std::string& cell : comparison.only_a) notes += "only in A: " + cell + "\n";
  for (const std::string& cell : comparison.only_b) notes += "only in B: " + cell + "\n";
  return text + (notes.empty() ? "" : "\n" + notes);
}

}  // namespace

int verb_compare(const CompareFlags& flags) {
  const Comparison comparison = compare_runs(run_records(flags.a), run_records(flags.b));
  std::fputs((flags.json ? as_json(comparison, flags) : as_text(comparison, flags)).c_str(),
             stdout);
  return 0;
}

}  // namespace kv
