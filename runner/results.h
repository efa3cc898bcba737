// What a run leaves behind: samples.jsonl, the truth that every report is made from.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runner/kept_rows.h"

namespace kv {

// Version of the record layout; written into every manifest.
inline constexpr int kResultsSchema = 2;

// One line of samples.jsonl: one sample answered by one cell (interface section 4).
struct SampleRecord {
  // The cell.
  std::string model;    // as the config names it
  std::string method;   // short name of the compressor: "snapkv+int4"; "none"
  double budget = 1.0;  // share of the prompt's rows kept; 1 - compression_ratio
  double compression_ratio =
      0;                    // share of the prompt's rows removed; 0 for "none" and a codec alone
  std::string task;         // name: "perplexity"
  std::string task_spec;    // Task::canonical(): the name and every parameter
  std::string cell_id;      // unique in one config: model, task and compressor in canonical form
  std::string spec;         // the compressor in canonical form
  std::string fingerprint;  // xxh3-128 hex of everything that can change an output of the cell

  // The sample.
  std::string sample_id;
  int64_t seed = 0;
  std::map<std::string, std::string> meta;  // what the task attached: "depth", "length"
  std::map<std::string, double> scores;     // empty where error is not
  std::string output;                       // generated text; empty for scored suffixes
  // What was generated, without the end-of-text id; the text may be cut before the last ones. Empty
  // for scored suffixes and in records of schema 1.
  std::vector<int32_t> output_ids;
  std::string stop_reason;  // "eos" | "length" | "stop"; "scored" for suffixes
  std::string error;        // why the sample failed; empty: it did not
  std::string note;         // remarks of policies: "window 64 shrunk to 15"
  std::string logits_hash;  // xxh3-64 hex over every logits row computed, in order

  // Of the task's first sample, where rows were evicted; nothing elsewhere and in schema 1.
  std::optional<KeptRows> kept;

  int64_t n_context = 0;  // tokens prefilled and then compressed
  int64_t n_tokens = 0;   // tokens generated or scored after them

  // Memory of this one sequence, bytes.
  int64_t kv_bytes = 0;  // in use right after compression
  int64_t kv_bytes_peak =
      0;  // the most in use from the prompt's uncompressed rows to the end of the answer
  int64_t kv_bytes_allocated = 0;  // whole pages held right after compression
  int64_t kv_bytes_full = 0;       // what the full cache of the context takes at 16 bits per value

  // Wall time; null without run.timing. Medians over repetitions.
  std::optional<double> prefill_ms, compress_ms, decode_ms;
  std::optional<double> ttft_ms;  // prefill, compression and the question up to the first token
  std::optional<double> tpot_ms;  // per later token
  // Largest minus smallest of the repetitions, for the fields above that have a value.
  std::map<std::string, double> timing_spread;

  double kv_retained() const {
    return kv_bytes_full > 0 ? static_cast<double>(kv_bytes) / static_cast<double>(kv_bytes_full)
                             : 0;
  }
};

// The record as one line of JSON without the line feed, and back. `place` names the line in error
// messages. from_json_line throws Error(kData) where a field of schema 1 is missing or one has the
// wrong type; unknown fields are ignored.
std::string to_json_line(const SampleRecord& record);
SampleRecord from_json_line(const std::string& line, const std::string& place);

// What reports say about the run beside its records; read from manifest.json.
struct ManifestInfo {
  std::string version, commit, cpu, isa, compiler;
  std::string started, finished;  // UTC, ISO 8601; finished is empty while the run goes on
  std::string exit_reason;  // "running" | "done" | "failed samples" | "interrupted" | "error: …"
  std::string kv_dtype, weights, gemm;
  int threads = 0;
  int64_t seed = 0;
  bool timing = false;
  std::map<std::string, int> limits;  // task name -> samples taken; absent: all of them
  int64_t tokens_prefilled = 0;       // really computed
  int64_t tokens_requested = 0;  // what one prefill for each (cell, sample) would have computed
  std::vector<std::string> models, compressors,
      tasks;  // in config order; compressors and tasks canonical
};

// All records of one samples.jsonl, in file order. A last line without its line feed (a killed
// writer) is left out. Throws Error(kData) with the line number for any other malformed line, and
// where the file is missing.
std::vector<SampleRecord> read_records(const std::filesystem::path& samples_jsonl);

// Later records of the same (fingerprint, sample_id) win over earlier ones: a failed sample that
// was repeated.
std::vector<SampleRecord> latest_records(std::vector<SampleRecord> records);

// Appends to samples.jsonl. One record is one fwrite and one flush, so that a kill can cut at most
// the last line.
class ResultWriter {
 public:
  // Opens (or makes) and locks the file and cuts off an incomplete last line. fresh: moves earlier
  // records aside to samples.<n>.jsonl first. Throws Error(kData).
  ResultWriter(const std::filesystem::path& samples_jsonl, bool fresh);
  ~ResultWriter();
  ResultWriter(const ResultWriter&) = delete;
  ResultWriter& operator=(const ResultWriter&) = delete;

  void append(const SampleRecord& record);

  // True where the file holds a record of this sample without an error.
  bool done(const std::string& fingerprint, const std::string& sample_id) const {
    return done_.count({fingerprint, sample_id}) > 0;
  }

 private:
  void open();

  std::filesystem::path path_;
  std::FILE* file_ = nullptr;
  std::set<std::pair<std::string, std::string>> done_;
};

}  // namespace kv
