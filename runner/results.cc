#include "runner/results.h"

#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/error.h"

namespace kv {
namespace {

using Json = nlohmann::ordered_json;

Json optional_number(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// JSON has no NaN and no infinities: they are written as these strings, never lost.
Json finite_or_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

double number_or_text(const Json& value) {
  if (value.is_number()) return value.get<double>();
  const std::string text = value.get<std::string>();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  throw std::runtime_error("'" + text + "' is no number");
}

// One list of fields drives writing and reading. `visit` is called with (key, member).
template <typename Record, typename Visit>
void visit_fields(Record& r, const Visit& visit) {
  visit("model", r.model);
  visit("method", r.method);
  visit("budget", r.budget);
  visit("compression_ratio", r.compression_ratio);
  visit("task", r.task);
  visit("task_spec", r.task_spec);
  visit("cell_id", r.cell_id);
  visit("sample_id", r.sample_id);
  visit("seed", r.seed);
  visit("spec", r.spec);
  visit("fingerprint", r.fingerprint);
  visit("scores", r.scores);
  visit("output", r.output);
  visit("output_ids", r.output_ids);
  visit("n_context", r.n_context);
  visit("n_tokens", r.n_tokens);
  visit("kv_bytes", r.kv_bytes);
  visit("kv_bytes_peak", r.kv_bytes_peak);
  visit("kv_bytes_allocated", r.kv_bytes_allocated);
  visit("kv_bytes_full", r.kv_bytes_full);
  visit("prefill_ms", r.prefill_ms);
  visit("compress_ms", r.compress_ms);
  visit("decode_ms", r.decode_ms);
  visit("ttft_ms", r.ttft_ms);
  visit("tpot_ms", r.tpot_ms);
  visit("timing_spread", r.timing_spread);
  visit("logits_hash", r.logits_hash);
  visit("stop_reason", r.stop_reason);
  visit("error", r.error);
  visit("note", r.note);
  visit("meta", r.meta);
  visit("kept", r.kept);
}

struct Writer {
  Json& json;
  void operator()(const char* key, const std::string& v) const { json[key] = v; }
  void operator()(const char* key, double v) const { json[key] = v; }
  void operator()(const char* key, int64_t v) const { json[key] = v; }
  void operator()(const char* key, const std::optional<double>& v) const {
    json[key] = optional_number(v);
  }
  void operator()(const char* key, const std::map<std::string, double>& v) const {
    Json& map = json[key] = Json::object();
    for (const auto& [name, number] : v) map[name] = finite_or_text(number);
  }
  void operator()(const char* key, const std::map<std::string, std::string>& v) const {
    Json& map = json[key] = Json::object();
    for (const auto& [name, text] : v) map[name] = text;
  }
  void operator()(const char* key, const std::vector<int32_t>& v) const { json[key] = v; }
  void operator()(const char* key, const std::optional<KeptRows>& v) const {
    json[key] = v ? Json{{"rows", v->rows}, {"share", v->share}} : Json(nullptr);
  }
};

// The same layers and heads in both parts, every digit one.
void check_shape(const KeptRows& kept) {
  const auto require = [](bool fits) {
    if (!fits) throw std::runtime_error("rows and share do not fit each other");
  };
  require(!kept.rows.empty() && kept.rows.size() == kept.share.size());
  for (size_t layer = 0; layer < kept.rows.size(); ++layer) {
    require(!kept.rows[layer].empty() && kept.rows[layer].size() == kept.share[layer].size());
    for (const std::string& digits : kept.share[layer]) {
      require(!digits.empty() && digits.size() <= static_cast<size_t>(kKeptBins));
      for (const char digit : digits) kept_share(digit);
    }
  }
}

struct Reader {
  const Json& json;
  mutable const char* current = "";

  const Json& at(const char* key) const {
    current = key;
    return json.at(key);
  }
  void operator()(const char* key, std::string& v) const { v = at(key).get<std::string>(); }
  void operator()(const char* key, double& v) const { v = at(key).get<double>(); }
  void operator()(const char* key, int64_t& v) const { v = at(key).get<int64_t>(); }
  void operator()(const char* key, std::optional<double>& v) const {
    const Json& value = at(key);
    v = value.is_null() ? std::nullopt : std::optional<double>(value.get<double>());
  }
  void operator()(const char* key, std::map<std::string, double>& v) const {
    for (const auto& [name, number] : at(key).items()) v[name] = number_or_text(number);
  }
  void operator()(const char* key, std::map<std::string, std::string>& v) const {
    for (const auto& [name, text] : at(key).items()) v[name] = text.get<std::string>();
  }
  // The fields that came with schema 2.
  void operator()(const char* key, std::vector<int32_t>& v) const {
    if (json.contains(key)) v = at(key).get<std::vector<int32_t>>();
  }
  void operator()(const char* key, std::optional<KeptRows>& v) const {
    if (!json.contains(key) || at(key).is_null()) return;
    KeptRows kept;
    at(key).at("rows").get_to(kept.rows);
    at(key).at("share").get_to(kept.share);
    check_shape(kept);
    v = std::move(kept);
  }
};

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw_data("{}: cannot be opened: {}", path.string(), std::strerror(errno));
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Length of the part of `text` that consists of whole lines.
size_t complete_length(const std::string& text) {
  const size_t last = text.rfind('\n');
  return last == std::string::npos ? 0 : last + 1;
}

std::vector<SampleRecord> parse_records(const std::string& text, const std::string& file) {
  std::vector<SampleRecord> records;
  const size_t end = complete_length(text);
  int line_number = 0;
  for (size_t begin = 0; begin < end;) {
    const size_t stop = text.find('\n', begin);
    ++line_number;
    if (stop > begin) {
      records.push_back(from_json_line(text.substr(begin, stop - begin),
                                       fmt::format("{}:{}", file, line_number)));
    }
    begin = stop + 1;
  }
  return records;
}

void move_aside(const std::filesystem::path& path) {
  for (int n = 1;; ++n) {
    std::filesystem::path aside = path;
    aside.replace_filename(fmt::format("{}.{}.jsonl", path.stem().string(), n));
    if (std::filesystem::exists(aside)) continue;
    std::filesystem::rename(path, aside);
    return;
  }
}

}  // namespace

std::string to_json_line(const SampleRecord& record) {
  Json json;
  visit_fields(record, Writer{json});
  // Generated text may end inside a character: the broken bytes become U+FFFD.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

SampleRecord from_json_line(const std::string& line, const std::string& place) {
  SampleRecord record;
  Json json;
  try {
    json = Json::parse(line);
  } catch (const std::exception& e) {
    throw_data("{}: not a JSON record: {}", place, e.what());
  }
  const Reader reader{json};
  try {
    visit_fields(record, reader);
  } catch (const std::exception& e) {
    throw_data("{}: field '{}' is missing or has the wrong type ({})", place, reader.current,
               e.what());
  }
  return record;
}

std::vector<SampleRecord> read_records(const std::filesystem::path& samples_jsonl) {
  return parse_records(read_file(samples_jsonl), samples_jsonl.string());
}

std::vector<SampleRecord> latest_records(std::vector<SampleRecord> records) {
  std::map<std::pair<std::string, std::string>, size_t> index;
  std::vector<SampleRecord> kept;
  for (SampleRecord& record : records) {
    const auto [at, is_new] =
        index.try_emplace({record.fingerprint, record.sample_id}, kept.size());
    if (is_new) {
      kept.push_back(std::move(record));
    } else {
      kept[at->second] = std::move(record);
    }
  }
  return kept;
}

ResultWriter::ResultWriter(const std::filesystem::path& samples_jsonl, bool fresh)
    : path_(samples_jsonl) {
  open();
  if (fresh && std::filesystem::file_size(path_) > 0) {
    move_aside(path_);
    std::fclose(file_);
    open();
  }
  const std::string text = read_file(path_);
  for (const SampleRecord& record : latest_records(parse_records(text, path_.string()))) {
    if (record.error.empty()) done_.insert({record.fingerprint, record.sample_id});
  }
  // Cutting, not only skipping: the next record would otherwise be glued onto the broken line.
  if (complete_length(text) < text.size()) {
    std::filesystem::resize_file(path_, complete_length(text));
  }
}

void ResultWriter::open() {
  file_ = std::fopen(path_.c_str(), "ab");
  if (file_ == nullptr) {
    throw_data("{}: cannot be opened for writing: {}", path_.string(), std::strerror(errno));
  }
  // The lock goes with the process, however that ends.
  if (flock(fileno(file_), LOCK_EX | LOCK_NB) != 0) {
    std::fclose(file_);
    file_ = nullptr;
    throw_data(
        "{}: another run is writing to it; wait for its end or give another folder with --out",
        path_.string());
  }
}

ResultWriter::~ResultWriter() {
  if (file_ != nullptr) std::fclose(file_);
}

void ResultWriter::append(const SampleRecord& record) {
  const std::string line = to_json_line(record) + "\n";
  if (std::fwrite(line.data(), 1, line.size(), file_) != line.size() || std::fflush(file_) != 0) {
    throw_data(
        "{}: cannot be written: {}; free some space and start again, the run goes on from here",
        path_.string(), std::strerror(errno));
  }
  if (record.error.empty()) done_.insert({record.fingerprint, record.sample_id});
}

}  // namespace kv
