#include "runner/report_longctx.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <system_error>
#include <tuple>

#include "engine/error.h"
#include "engine/safetensors_writer.h"
#include "runner/figures.h"
#include "runner/longctx_params.h"
#include "runner/report_cells.h"
#include "runner/report_grid.h"
#include "tasks/longbench_sets.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// The records of one model, task and compressor without the failed ones, in the order of its samples.
struct Cell {
  LongctxCell names;
  std::vector<SampleRecord> records;
};

double number_of(const SampleRecord& record, const char* key) {
  const auto text = record.meta.find(key);
  return text == record.meta.end() ? 0 : std::strtod(text->second.c_str(), nullptr);
}

// The number at a sample id's end: the row of a data set, the repeat of a passkey.
double index_of(const SampleRecord& record) {
  const size_t begin = record.sample_id.find_last_not_of("0123456789") + 1;
  return std::strtod(record.sample_id.c_str() + begin, nullptr);
}

bool sample_order(const SampleRecord& a, const SampleRecord& b) {
  const auto key = [](const SampleRecord& r) {
    const bool grid = r.meta.count("depth") > 0;
    return std::make_tuple(grid ? number_of(r, "length") : 0, number_of(r, "depth"), index_of(r));
  };
  return key(a) < key(b);
}

std::vector<Cell> cells_of(const std::vector<SampleRecord>& records) {
  std::map<std::tuple<std::string, std::string, std::string>, Cell> cells;
  for (const SampleRecord& record : records) {
    if (!record.error.empty() || !is_longctx_task(record.task_spec)) continue;
    cells[{record.model, record.task_spec, record.spec}].records.push_back(record);
  }
  std::vector<Cell> result;
  for (auto& [key, cell] : cells) {
    std::sort(cell.records.begin(), cell.records.end(), sample_order);
    result.push_back(std::move(cell));
  }
  return result;
}

double rounded2(double value) {
  return std::strtod(fmt::format("{:.2f}", value).c_str(), nullptr);
}

double mean_score(const std::vector<SampleRecord>& records, const char* metric) {
  double sum = 0;
  for (const SampleRecord& record : records) sum += record.scores.at(metric);
  return sum / static_cast<double>(records.size());
}

void write_text(const fs::path& path, const std::string& text) {
  std::error_code ignored;  // the file says more
  fs::create_directories(path.parent_path(), ignored);
  write_file_atomically(path, text);
}

void write_json(const fs::path& path, const Json& json) {
  write_text(path, json.dump(4, ' ', true));  // as Python's json.dump(…, indent=4)
}

// "2026-01-02T03:04:05Z" in seconds; nothing where it is none.
std::optional<std::time_t> seconds_of(const std::string& time) {
  std::tm parts{};
  const char* end = strptime(time.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (end == nullptr) return std::nullopt;
  return timegm(&parts);
}

// As Python prints a timedelta: 1:02:03; null while the run goes on.
Json duration(const ManifestInfo& manifest) {
  const auto begin = seconds_of(manifest.started), end = seconds_of(manifest.finished);
  if (!begin || !end) return nullptr;
  const auto seconds = static_cast<long>(*end - *begin);
  return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

Json management(const Cell& cell, const ManifestInfo& manifest, const fs::path& folder) {
  return {{"exp_desc", cell.records[0].cell_id},
          {"pipeline_config_dir", "input_config/input_pipeline_config.json"},
          {"eval_config_dir", "input_config/input_eval_config.json"},
          {"output_folder_dir", folder.string()},
          {"job_post_via", "terminal"},
          {"sub_dir", longctx_sub_dir()},
          {"start_time", manifest.started},
          {"end_time", manifest.finished},
          {"exp_duration", duration(manifest)}};
}

Json longbench_raw(const LongBenchSet& set, const std::vector<SampleRecord>& records) {
  Json raw = Json::array();
  for (const SampleRecord& record : records) {
    raw.push_back({{"answers", longbench_prediction(set, record.output)},
                   {"score", record.scores.at(set.metric)}});
  }
  return raw;
}

void write_predictions(const Cell& cell, const LongBenchSet& set, const fs::path& folder) {
  std::string lines;
  for (const SampleRecord& record : cell.records) {
    const auto classes = record.meta.find("all_classes");
    const Json line = {
        {"pred", record.output},
        {"answers", Json::parse(record.meta.at("answers"))},
        {"all_classes", classes == record.meta.end() ? Json() : Json::parse(classes->second)},
        {"length", static_cast<int64_t>(number_of(record, "length"))}};
    lines += line.dump() + "\n";
  }
  const fs::path predictions = folder / "pred" / cell.names.method;
  write_text(predictions / (cell.names.prediction_file + ".jsonl"), lines);
  write_json(predictions / "result.json",
             {{set.name, rounded2(100 * mean_score(cell.records, set.metric))}});
}

Json passkey_raw(const std::vector<SampleRecord>& records) {
  Json raw = Json::object();
  for (const SampleRecord& record : records) {
    Json& place = raw[record.meta.at("length")][record.meta.at("depth")];
    place["answers"].push_back(record.meta.at("key"));
    place["responses"].push_back(record.output);
  }
  return raw;
}

void write_heat_map(const Cell& cell, const ManifestInfo& manifest, const fs::path& folder) {
  const std::vector<ReportCell> cells = report_cells(cell.records, manifest);
  const std::vector<HeatMap> maps = grid_maps({&cells[0]});
  if (maps.empty()) return;
  write_figures({{"result_vis", heat_svg("passkey, " + cells[0].model + ": exact_match",
                                         grid_axes({&cells[0]}), maps, 1)}},
                folder);
}

Json results_of(const Cell& cell) {
  const LongBenchSet* set = cell.names.set;
  if (set == nullptr) return longctx_passkey_results(cell.records);
  return {{set->metric, rounded2(100 * mean_score(cell.records, set->metric))}};
}

void write_cell(const Cell& cell, const ManifestInfo& manifest, const fs::path& folder) {
  write_json(folder / "input_config" / "input_pipeline_config.json",
             {{"pipeline_params", *cell.names.pipeline_params}});
  write_json(
      folder / "input_config" / "input_eval_config.json",
      {{"eval_params", *cell.names.eval_params}, {"management", {{"sub_dir", longctx_sub_dir()}}}});
  write_json(folder / "output_config.json",
             {{"pipeline_params", *cell.names.pipeline_params},
              {"eval_params", *cell.names.eval_params},
              {"eval_results", {{"processed_results", results_of(cell)}}},
              {"management", management(cell, manifest, folder)}});
  if (cell.names.set != nullptr) {
    write_json(folder / "raw_results.json", longbench_raw(*cell.names.set, cell.records));
    write_predictions(cell, *cell.names.set, folder);
  } else {
    write_json(folder / "raw_results.json", passkey_raw(cell.records));
    write_heat_map(cell, manifest, folder);
  }
  write_text(folder / "exp.log",
             fmt::format("{} | INFO : {}\n{} | INFO : {} samples, {}\n", manifest.started,
                         cell.records[0].cell_id, manifest.finished, cell.records.size(),
                         manifest.exit_reason));
}

// Two cells that its names do not tell apart keep our own name.
void tell_apart(std::vector<Cell>& cells) {
  std::map<fs::path, std::set<std::string>> specs;
  for (const Cell& cell : cells) specs[cell.names.folder()].insert(cell.records[0].cell_id);
  for (Cell& cell : cells) {
    if (specs[cell.names.folder()].size() == 1) continue;
    cell.names.method_folder = file_name(cell.records[0].spec);
    cell.names.rate.clear();
    if (cell.names.set == nullptr)
      cell.names.group += fmt::format("-{}", file_name(cell.records[0].task_spec));
  }
}

Json mean_of(const std::vector<double>& values, size_t n_expected) {
  if (values.size() != n_expected || values.empty()) return nullptr;
  double sum = 0;
  for (const double value : values) sum += value;
  return rounded2(sum / static_cast<double>(values.size()));
}

Json means_over(const std::vector<Json>& places) {
  Json means = Json::object();
  for (const char* metric : {"exact_match", "partial_match"}) {
    double sum = 0;
    for (const Json& place : places) sum += place.at(metric).get<double>();
    means[metric] = sum / static_cast<double>(places.size());
  }
  return means;
}

}  // namespace

Json longctx_passkey_results(const std::vector<SampleRecord>& cell) {
  std::vector<SampleRecord> records = cell;
  std::sort(records.begin(), records.end(), sample_order);
  Json results = Json::object(), by_length = Json::object();
  std::vector<Json> all;
  for (size_t begin = 0; begin < records.size();) {
    const std::string& length = records[begin].meta.at("length");
    std::vector<Json> places;
    while (begin < records.size() && records[begin].meta.at("length") == length) {
      const std::string& depth = records[begin].meta.at("depth");
      std::vector<Json> samples;
      for (; begin < records.size() && records[begin].meta.at("length") == length &&
             records[begin].meta.at("depth") == depth;
           ++begin) {
        samples.push_back({{"exact_match", records[begin].scores.at("exact_match")},
                           {"partial_match", records[begin].scores.at("partial_match")}});
      }
      places.push_back(means_over(samples));
      results[length][depth] = places.back();
    }
    by_length[length] = means_over(places);
    all.insert(all.end(), places.begin(), places.end());
  }
  results["background_len_wise_results"] = by_length;
  results["overall_results"] = means_over(all);
  return results;
}

Json longctx_summary(const std::map<std::string, double>& scores) {
  Json individual = Json::object(), groups = Json::object();
  std::map<std::string, std::vector<double>> values;
  std::map<std::string, size_t> expected;
  std::vector<std::string> order;
  for (const LongBenchSet& set : longbench_sets()) {
    const auto score = scores.find(set.name);
    if (score != scores.end()) individual[set.name] = score->second;
    const std::string group = set.group;
    if (group.empty()) continue;
    if (++expected[group] == 1) order.push_back(group);
    ++expected["all"];
    if (score == scores.end()) continue;
    values[group].push_back(score->second);
    values["all"].push_back(score->second);
  }
  for (const std::string& group : order) groups[group] = mean_of(values[group], expected[group]);
  return {{"individual_dataset_result", individual},
          {"task_average_result", groups},
          {"LB_average_result", mean_of(values["all"], expected["all"])}};
}

std::string longctx_rate(double kept) {
  const double rate = 1 / kept, whole = std::round(rate);
  return std::abs(rate - whole) < 0.15 ? fmt::format("{:.0f}x", whole)
                                       : fmt::format("{:.2f}x", rate);
}

fs::path export_longctx_bench(const std::vector<SampleRecord>& records,
                              const ManifestInfo& manifest, const fs::path& dir) {
  std::vector<Cell> cells = cells_of(records);
  if (cells.empty())
    throw_usage("report: longctx-bench has only longbench and passkey; this run has neither");
  for (Cell& cell : cells) cell.names = longctx_cell(cell.records[0]);
  tell_apart(cells);
  std::map<fs::path, std::map<std::string, double>> scores;  // by the folder of a model
  for (const Cell& cell : cells) {
    const fs::path folder = dir / cell.names.folder();
    write_cell(cell, manifest, folder);
    const LongBenchSet* set = cell.names.set;
    if (set == nullptr) continue;
    scores[folder.parent_path()][set->name] = rounded2(100 * mean_score(cell.records, set->metric));
  }
  for (const auto& [folder, by_set] : scores)
    write_json(folder / "longbench_result_summary.json", longctx_summary(by_set));
  return dir;
}

}  // namespace kv
