#include "runner/report_efficient_llm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/error.h"
#include "engine/safetensors_writer.h"
#include "runner/figures.h"
#include "runner/report_text.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Every number of a row under its name, in the order of the table.
struct Field {
  const char* name;
  double EfficientRow::*member;
};
constexpr Field kFields[] = {
    {"compression_ratio", &EfficientRow::compression_ratio},
    {"ppl", &EfficientRow::ppl},
    {"prefill_time", &EfficientRow::prefill_time},
    {"ttft", &EfficientRow::ttft},
    {"tpot", &EfficientRow::tpot},
    {"throughput", &EfficientRow::throughput},
    {"decode_time", &EfficientRow::decode_time},
    {"total_generation_time", &EfficientRow::total_generation_time},
    {"generation_prompt_tokens", &EfficientRow::generation_prompt_tokens},
    {"generation_output_tokens", &EfficientRow::generation_output_tokens},
    {"generation_total_tokens", &EfficientRow::generation_total_tokens},
    {"ppl_delta", &EfficientRow::ppl_delta},
    {"prefill_speedup", &EfficientRow::prefill_speedup},
    {"ttft_speedup", &EfficientRow::ttft_speedup},
    {"tpot_speedup", &EfficientRow::tpot_speedup},
    {"throughput_ratio", &EfficientRow::throughput_ratio},
};

// Those that have a plot, with the label of its axis.
constexpr std::pair<const char*, const char*> kPlots[] = {
    {"ppl", "suffix perplexity"},
    {"tpot", "seconds for each token after the first"},
    {"ttft", "seconds to the first token"},
    {"prefill_time", "seconds of prefill and compression"},
    {"decode_time", "seconds after the first token"},
    {"total_generation_time", "seconds in all"},
    {"throughput", "generated tokens per second"},
};

const Field& field_of(const std::string& name) {
  const auto found = std::find_if(std::begin(kFields), std::end(kFields),
                                  [&](const Field& field) { return field.name == name; });
  KV_CHECK(found != std::end(kFields), "no field {}", name);
  return *found;
}

bool is_perplexity(const ReportCell& cell) {
  return cell.task_spec.rfind("perplexity(", 0) == 0;
}

// Prompt and output tokens of a timed sample, by (model, task, compressor).
struct Lengths {
  double prompt = 0, output = 0;
};
using LengthsByCell = std::map<std::tuple<std::string, std::string, std::string>, Lengths>;

LengthsByCell timed_lengths(const std::vector<SampleRecord>& records) {
  LengthsByCell lengths;
  for (const SampleRecord& r : records) {
    if (!r.ttft_ms || !r.error.empty()) continue;
    lengths.try_emplace({r.model, r.task_spec, r.spec},
                        Lengths{static_cast<double>(r.n_context), static_cast<double>(r.n_tokens)});
  }
  return lengths;
}

void add_speed(const ReportCell& timed, const Lengths& lengths, EfficientRow& row) {
  const auto seconds = [&](const char* name) { return timed.timing.at(name) / 1000; };
  row.prefill_time = seconds("prefill_ms") + seconds("compress_ms");
  row.ttft = seconds("ttft_ms");
  row.tpot = lengths.output > 1 ? seconds("tpot_ms") : kNan;
  row.decode_time = lengths.output > 1 ? row.tpot * (lengths.output - 1) : 0;
  row.total_generation_time = row.ttft + row.decode_time;
  row.throughput = lengths.output / row.total_generation_time;
  row.generation_prompt_tokens = lengths.prompt;
  row.generation_output_tokens = lengths.output;
  row.generation_total_tokens = lengths.prompt + lengths.output;
}

// The compressor's cell of the first task that generated, was timed and has this data.
const ReportCell* timed_cell(const std::vector<ReportCell>& cells, const ReportCell& scored) {
  for (const ReportCell& cell : cells) {
    const bool same = cell.model == scored.model && cell.spec == scored.spec &&
                      efficient_dataset(cell.task_spec) == efficient_dataset(scored.task_spec);
    if (same && !is_perplexity(cell) && cell.timing.count("tpot_ms") > 0) return &cell;
  }
  return nullptr;
}

EfficientRow make_row(const ReportCell& cell, const std::vector<ReportCell>& cells,
                      const LengthsByCell& lengths) {
  EfficientRow row;
  for (const Field& field : kFields) row.*field.member = kNan;
  row.model = cell.model;
  row.dataset = efficient_dataset(cell.task_spec);
  row.method = cell.is_baseline() ? "baseline" : cell.label;
  row.compression_ratio = cell.compression_ratio;
  const auto ppl = cell.metrics.find("ppl");
  if (ppl != cell.metrics.end()) row.ppl = ppl->second.value;
  if (const ReportCell* timed = timed_cell(cells, cell)) {
    add_speed(*timed, lengths.at({timed->model, timed->task_spec, timed->spec}), row);
  }
  return row;
}

void compare_with(const EfficientRow& baseline, EfficientRow& row) {
  row.ppl_delta = row.ppl - baseline.ppl;
  row.prefill_speedup = baseline.prefill_time / row.prefill_time;
  row.ttft_speedup = baseline.ttft / row.ttft;
  row.tpot_speedup = baseline.tpot / row.tpot;
  row.throughput_ratio = row.throughput / baseline.throughput;
}

// Rows of one model and dataset, in the order of their first appearance.
std::vector<std::vector<EfficientRow>> by_dataset(const std::vector<EfficientRow>& rows) {
  std::vector<std::vector<EfficientRow>> groups;
  for (const EfficientRow& row : rows) {
    auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& g) {
      return g.front().model == row.model && g.front().dataset == row.dataset;
    });
    if (group == groups.end()) group = groups.insert(groups.end(), {{}});
    group->push_back(row);
  }
  return groups;
}

// org/model as org_model.
std::string whole_name(std::string model) {
  std::replace(model.begin(), model.end(), '/', '_');
  return file_name(model);
}

// What files call each model: one that was given as a path has the name of its folder or file, unless two share it.
std::map<std::string, std::string> model_names(const std::vector<EfficientRow>& rows) {
  std::map<std::string, std::string> names;
  std::map<std::string, int> uses;
  for (const EfficientRow& row : rows) {
    const bool is_path = row.model.starts_with('/') || row.model.starts_with('.');
    const fs::path path(row.model);
    const std::string last = (path.extension() == ".gguf" ? path.stem() : path.filename()).string();
    const std::string name = is_path && !last.empty() ? file_name(last) : whole_name(row.model);
    if (names.emplace(row.model, name).second) ++uses[name];
  }
  for (auto& [model, name] : names) {
    if (uses[name] > 1) name = whole_name(model);
  }
  return names;
}

fs::path write_tables(const std::vector<EfficientRow>& rows, const fs::path& dir,
                      const std::string& name) {
  write_file_atomically(dir / (name + "_kv_metrics.json"), efficient_json(rows));
  write_file_atomically(dir / (name + "_kv_metrics.csv"), efficient_csv(rows));
  return dir / (name + "_kv_metrics.csv");
}

std::vector<Figure> plots_of(const std::vector<EfficientRow>& rows, const std::string& name) {
  std::vector<Figure> figures;
  for (const auto& [field, label] : kPlots) {
    ChartPanel panel = efficient_panel(rows, field);
    if (panel.series.empty()) continue;
    figures.push_back(
        {name + "_" + field + "_vs_compression",
         chart_svg(fmt::format("{} on {}: {}", rows.front().model, rows.front().dataset, field),
                   {panel}, 1)});
  }
  return figures;
}

}  // namespace

std::string efficient_dataset(const std::string& task_spec) {
  const std::string data = spec_parameter(task_spec, "data");
  if (data.empty()) return "prose";
  std::string name = fs::path(data).stem().string();
  std::string lower = name;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  for (const auto& [part, dataset] : {std::pair("wiki", "wikitext"), std::pair("pg19", "pg19")}) {
    if (lower.find(part) != std::string::npos) return dataset;
  }
  return file_name(name);
}

std::vector<EfficientRow> efficient_rows(const std::vector<SampleRecord>& records,
                                         const ManifestInfo& manifest) {
  const std::vector<ReportCell> cells = report_cells(records, manifest);
  const LengthsByCell lengths = timed_lengths(records);
  std::map<std::pair<std::string, std::string>, std::string> task_of;  // (model, dataset)
  std::map<std::pair<std::string, std::string>, EfficientRow> baselines;
  std::vector<EfficientRow> rows;
  for (const ReportCell& cell : cells) {
    if (!is_perplexity(cell)) continue;
    EfficientRow row = make_row(cell, cells, lengths);
    const auto [known, is_new] = task_of.emplace(std::pair(row.model, row.dataset), cell.task_spec);
    if (known->second != cell.task_spec) {
      throw_usage(
          "report: Efficient-LLM's tables hold one perplexity task for each data set; {} and {} "
          "are both of '{}'",
          known->second, cell.task_spec, row.dataset);
    }
    if (cell.is_baseline()) baselines[{row.model, row.dataset}] = row;
    rows.push_back(std::move(row));
  }
  for (EfficientRow& row : rows) {
    const auto baseline = baselines.find({row.model, row.dataset});
    if (baseline != baselines.end()) compare_with(baseline->second, row);
  }
  return rows;
}

std::string efficient_csv(const std::vector<EfficientRow>& rows) {
  std::string csv = "model,dataset,method";
  for (const Field& field : kFields) csv += fmt::format(",{}", field.name);
  csv += "\n";
  for (const EfficientRow& row : rows) {
    csv += csv_field(row.model) + "," + csv_field(row.dataset) + "," + csv_field(row.method);
    for (const Field& field : kFields) {
      const double value = row.*field.member;
      csv += ',';
      if (!std::isnan(value)) csv += number_text(value);
    }
    csv += "\n";
  }
  return csv;
}

std::string efficient_json(const std::vector<EfficientRow>& rows) {
  Json list = Json::array();
  for (const EfficientRow& row : rows) {
    Json object = {{"model", row.model}, {"dataset", row.dataset}, {"method", row.method}};
    for (const Field& field : kFields) {
      const double value = row.*field.member;
      object[field.name] = std::isfinite(value) ? Json(value) : Json(nullptr);
    }
    list.push_back(std::move(object));
  }
  return list.dump(2) + "\n";
}

ChartPanel efficient_panel(const std::vector<EfficientRow>& rows, const std::string& field) {
  double EfficientRow::*const member = field_of(field).member;
  ChartPanel panel;
  panel.title = field;
  panel.x_label = "compression ratio (share of rows removed)";
  for (const auto& [name, label] : kPlots) {
    if (field == name) panel.y_label = label;
  }
  panel.linear_x = true;
  std::vector<ChartPoint> start;
  for (const EfficientRow& row : rows) {
    const double y = row.*member;
    if (!std::isfinite(y)) continue;
    const bool baseline = row.method == "baseline";
    const ChartPoint point = {row.compression_ratio, y, y, y};
    // A codec removes no rows: it has no place on this axis.
    if (!baseline && row.compression_ratio <= 0) continue;
    if (baseline) start = {point};
    auto series = std::find_if(panel.series.begin(), panel.series.end(),
                               [&](const ChartSeries& s) { return s.label == row.method; });
    if (series == panel.series.end()) {
      series = panel.series.insert(
          panel.series.end(),
          {row.method, baseline ? std::vector<ChartPoint>{} : start, baseline, "", false});
    }
    series->points.push_back(point);
  }
  return panel;
}

fs::path export_efficient_llm(const std::vector<SampleRecord>& records,
                              const ManifestInfo& manifest, const fs::path& dir) {
  const std::vector<EfficientRow> rows = efficient_rows(records, manifest);
  if (rows.empty()) throw_usage("report: Efficient-LLM's tables need a perplexity task; none here");
  fs::create_directories(dir);
  const std::map<std::string, std::string> names = model_names(rows);
  std::map<std::string, std::vector<EfficientRow>> by_model;
  fs::path first;
  for (const std::vector<EfficientRow>& group : by_dataset(rows)) {
    const std::string& model = names.at(group.front().model);
    const std::string name = model + "_" + group.front().dataset;
    const fs::path table = write_tables(group, dir, name);
    if (first.empty()) first = table;
    write_figures(plots_of(group, name), dir / "plots" / group.front().dataset);
    std::vector<EfficientRow>& all = by_model[model];
    all.insert(all.end(), group.begin(), group.end());
  }
  for (const auto& [model, all] : by_model) {
    if (by_dataset(all).size() > 1) write_tables(all, dir, model + "_combined");
  }
  return first;
}

}  // namespace kv
