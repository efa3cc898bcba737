// From answers to the records of samples.jsonl.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "engine/compression.h"
#include "runner/answer.h"
#include "runner/manifest.h"
#include "runner/prepare.h"
#include "runner/results.h"

namespace kv {

// One sample to be answered by one cell.
struct SweepItem {
  size_t compressor = 0;
  Unit::Question question;
};

class Recorder {
 public:
  struct Parts {
    const RunConfig& config;
    const Preparation& preparation;
    size_t model_index;
    ResultWriter& results;
    Manifest& manifest;
    std::function<void(const SampleRecord&)> on_record;  // progress; may be empty
  };
  explicit Recorder(const Parts& parts) : parts_(parts) {}

  const Sample& sample_of(const Unit::Question& question) const;
  const Task& task_of(const SweepItem& item) const;
  const CompressorSpec& compressor_of(const SweepItem& item) const;
  // Whether samples.jsonl has the item's record already.
  bool done(const SweepItem& item) const;

  // The record of an answer; scoring it may fail, which the record then says. prompt_bytes: the
  // prompt's rows before compression.
  SampleRecord make(const SweepItem& item, const AnswerJob& job, const CompressedCache& compressed,
                    int64_t prompt_bytes) const;
  // Adds a record to the file and counts it.
  void append(const SampleRecord& record);
  // Appends a record of an item that could not be answered.
  void fail(const SweepItem& item, const std::string& error);

  int64_t n_failed() const { return n_failed_; }

 private:
  const Cell& cell_of(const SweepItem& item) const;
  SampleRecord blank(const SweepItem& item) const;

  Parts parts_;
  int64_t n_failed_ = 0;
};

}  // namespace kv
