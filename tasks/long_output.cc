// long_output: one long answer, written piece by piece, every piece of which depends on the beginning.
//
// A row is a context and turns. The context with the first turn's prompt is prefilled and compressed
// once; the model writes a piece until end of text, a stop string or the token limit; the next turn's
// prompt is fed and the next piece is written, all into the same cache. So a row of sixteen turns
// decodes hundreds of tokens after one compression, and methods that act while decoding have time to
// show what they forget. What a model wrote stays in its cache, right or wrong.
//
// A piece is right where it equals the expected text but for white space at both ends. Besides the
// share of right pieces there is one for each quarter of the output, by the order of the turns.
//
// Data: JSON lines {id, context, turns: [{prompt, answer}, ...], stop: [text, ...] (may be missing)}.
// The sample that ships: programs of many functions whose specification stands at the beginning, and
// JSON lists of many records hidden in a story (tools/canary/long_outputs.py).
#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "tasks/factories.h"
#include "tasks/text_data.h"

namespace kv {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kQuarters = 4;

std::vector<ParamSpec> param_table() {
  using Type = ParamSpec::Type;
  return {
      {.name = "data",
       .type = Type::kFile,
       .default_text = "null",
       .doc = "JSON lines of id, context, turns and stop; else the sample that ships"},
      {.name = "max_new_tokens",
       .type = Type::kInteger,
       .default_text = "64",
       .doc = "tokens of one piece",
       .min = 1,
       .max = 1 << 20},
  };
}

std::vector<MetricInfo> metric_table() {
  return {{"exact", true, "share of pieces that are right"},
          {"exact_q1", true, "the same of the first quarter of the output"},
          {"exact_q2", true, "of the second quarter"},
          {"exact_q3", true, "of the third quarter"},
          {"exact_q4", true, "of the last quarter"},
          {"until_wrong", true, "share of pieces before the first wrong one"}};
}

struct Turn {
  std::string prompt, answer;
};

struct Row {
  std::string id, context;
  std::vector<Turn> turns;
  std::vector<std::string> stop;
};

std::string text_of(const json& object, const char* key, const std::string& place) {
  if (!object.is_object() || !object.contains(key) || !object[key].is_string())
    throw_data("{}: expected a string under '{}', found {}", place, key,
               object.is_object() && object.contains(key) ? object[key].type_name() : "none");
  return object[key].get<std::string>();
}

Row read_row(const json& object, const std::string& place) {
  Row row;
  row.id = text_of(object, "id", place);
  row.context = text_of(object, "context", place);
  if (!object.contains("turns") || !object["turns"].is_array() ||
      object["turns"].size() < kQuarters)
    throw_data("{}: turns: expected a list of {} or more, one for each piece", place, kQuarters);
  for (const json& turn : object["turns"]) {
    row.turns.push_back({text_of(turn, "prompt", place), text_of(turn, "answer", place)});
    if (row.turns.back().prompt.empty())
      throw_data("{}: turns: expected prompts that are not empty", place);
  }
  if (!object.contains("stop")) return row;
  for (const json& stop : object["stop"]) {
    if (!stop.is_string() || stop.get<std::string>().empty())
      throw_data("{}: stop: expected strings that are not empty", place);
    row.stop.push_back(stop.get<std::string>());
  }
  return row;
}

std::vector<Row> read_rows(const std::string& text, const std::string& file) {
  std::vector<Row> rows;
  std::set<std::string> ids;
  for (const NumberedRow& line : numbered_rows(text)) {
    const std::string place = fmt::format("{}:{}", file, line.line);
    const json object = json::parse(line.text, nullptr, false);
    if (object.is_discarded()) throw_data("{}: expected a JSON object on one line", place);
    rows.push_back(read_row(object, place));
    if (!ids.insert(rows.back().id).second)
      throw_data("{}: two rows are called '{}'", place, rows.back().id);
  }
  if (rows.empty()) throw_data("{}: expected rows, found none", file);
  return rows;
}

class LongOutput : public Task {
 public:
  LongOutput(const Params& params, const std::string& base_folder)
      : canonical_("long_output(" + params.canonical() + ")"),
        max_new_tokens_(params.integer("max_new_tokens")) {
    const fs::path file = params.is_null("data") ? shipped_data("canary/long_outputs.jsonl")
                                                 : find_data(params.string("data"), base_folder,
                                                             params.value("data").place);
    const std::string text = read_text_file(file);
    data_hash_ = hash_text(text);
    rows_ = read_rows(text, file.string());
    for (size_t i = 0; i < rows_.size(); ++i) index_of_[rows_[i].id] = i;
  }

  std::string name() const override { return "long_output"; }
  int version() const override { return 1; }
  std::string canonical() const override { return canonical_; }
  std::vector<MetricInfo> metrics() const override { return metric_table(); }
  std::string data_hash() const override { return data_hash_; }

  std::vector<Sample> samples(const TextTools& tools, int limit) const override {
    if (!tools.encode) throw_usage("task 'long_output': the model has no tokenizer");
    std::vector<Sample> result;
    for (const Row& row : rows_) {
      if (limit >= 0 && result.size() >= static_cast<size_t>(limit)) break;
      Sample sample;
      sample.id = row.id;
      sample.context_ids = tools.encode(row.context + row.turns[0].prompt, true);
      for (size_t i = 1; i < row.turns.size(); ++i)
        sample.follow_ups.push_back(tools.encode(row.turns[i].prompt, false));
      sample.max_new_tokens = max_new_tokens_;
      sample.stop = row.stop;
      sample.meta = {{"turns", std::to_string(row.turns.size())}};
      result.push_back(std::move(sample));
    }
    return result;
  }

  Scores score(const Sample& sample, const Answer& answer) const override {
    const auto at = index_of_.find(sample.id);
    KV_CHECK(at != index_of_.end(), "sample {}", sample.id);
    const std::vector<Turn>& turns = rows_[at->second].turns;
    std::array<double, kQuarters> right = {}, count = {};
    double n_right = 0, n_before = 0;
    bool all_right = true;
    for (size_t i = 0; i < turns.size(); ++i) {
      const bool is_right =
          i < answer.parts.size() && strip(answer.parts[i]) == strip(turns[i].answer);
      all_right = all_right && is_right;
      const size_t quarter = i * kQuarters / turns.size();
      count[quarter] += 1;
      right[quarter] += is_right ? 1 : 0;
      n_right += is_right ? 1 : 0;
      n_before += all_right ? 1 : 0;
    }
    const double n = static_cast<double>(turns.size());
    Scores scores = {{"exact", n_right / n}, {"until_wrong", n_before / n}};
    for (size_t q = 0; q < kQuarters; ++q)
      scores[fmt::format("exact_q{}", q + 1)] = right[q] / count[q];
    return scores;
  }

 private:
  std::string canonical_;
  int max_new_tokens_;
  std::string data_hash_;
  std::vector<Row> rows_;
  std::map<std::string, size_t> index_of_;  // by id
};

}  // namespace

TaskInfo long_output_task() {
  return {.name = "long_output",
          .doc = "programs and lists of many pieces, each of which depends on the beginning",
          .params = param_table(),
          .metrics = metric_table(),
          .make = [](const Params& params, const std::string& base_folder) {
            return std::make_unique<LongOutput>(params, base_folder);
          }};
}

}  // namespace kv
