#include "runner/recorder.h"

#include <algorithm>

#include "engine/error.h"
#include "runner/memory_plan.h"

namespace kv {
namespace {

std::string join_notes(const std::vector<std::string>& notes) {
  return fmt::format("{}", fmt::join(notes, "; "));
}

bool evicted(const CompressedCache& compressed, int64_t n_context) {
  for (const auto& layer : compressed.kept) {
    for (const std::vector<int32_t>& head : layer) {
      if (static_cast<int64_t>(head.size()) < n_context) return true;
    }
  }
  return false;
}

}  // namespace

const Sample& Recorder::sample_of(const Unit::Question& question) const {
  return parts_.preparation.models[parts_.model_index].samples[question.task][question.sample];
}

const Task& Recorder::task_of(const SweepItem& item) const {
  return *parts_.config.tasks[item.question.task].task;
}

const CompressorSpec& Recorder::compressor_of(const SweepItem& item) const {
  return parts_.config.compressors[item.compressor];
}

const Cell& Recorder::cell_of(const SweepItem& item) const {
  return parts_.preparation.cell(parts_.model_index, item.question.task, item.compressor);
}

bool Recorder::done(const SweepItem& item) const {
  return parts_.results.done(cell_of(item).fingerprint, sample_of(item.question).id);
}

SampleRecord Recorder::blank(const SweepItem& item) const {
  const CompressorSpec& spec = compressor_of(item);
  const Task& task = task_of(item);
  const Sample& sample = sample_of(item.question);
  const ModelIdentity& model = parts_.preparation.models[parts_.model_index].identity;
  SampleRecord record;
  record.model = model.name;
  record.method = spec.short_name;
  record.compression_ratio = spec.ratio;
  record.budget = 1 - spec.ratio;
  record.task = task.name();
  record.task_spec = task.canonical();
  record.cell_id = cell_of(item).id;
  record.spec = spec.canonical;
  record.fingerprint = cell_of(item).fingerprint;
  record.sample_id = sample.id;
  record.seed = parts_.config.run.seed;
  record.meta = sample.meta;
  record.n_context = static_cast<int64_t>(sample.context_ids.size());
  record.kv_bytes_full = full_cache_bytes(model.config, record.n_context, 2);
  return record;
}

SampleRecord Recorder::make(const SweepItem& item, const AnswerJob& job,
                            const CompressedCache& compressed, int64_t prompt_bytes) const {
  SampleRecord record = blank(item);
  record.output = job.answer.text;
  record.output_ids = job.answer.ids;
  record.stop_reason = job.answer.stop_reason;
  record.note = join_notes(compressed.notes);
  record.logits_hash = job.logits_hash;
  const bool scored = job.sample->kind == Sample::Kind::kScore;
  record.n_tokens = static_cast<int64_t>(scored ? job.answer.nll.size() : job.answer.ids.size());
  record.kv_bytes = static_cast<int64_t>(compressed.cache.bytes_in_use());
  record.kv_bytes_allocated = static_cast<int64_t>(compressed.cache.bytes_allocated());
  // One sample of each cell, the same one however the run was cut.
  if (item.question.sample == 0 && evicted(compressed, record.n_context)) {
    record.kept = kept_rows(compressed.kept, record.n_context);
  }
  record.kv_bytes_peak = std::max({prompt_bytes, record.kv_bytes, job.kv_bytes_end});
  try {
    record.scores = task_of(item).score(*job.sample, job.answer);
    record.scores.insert(job.against_full.begin(), job.against_full.end());
  } catch (const std::exception& e) {
    record.scores.clear();
    record.error = e.what();
  }
  return record;
}

void Recorder::fail(const SweepItem& item, const std::string& error) {
  SampleRecord record = blank(item);
  record.error = error.empty() ? "failed without a message" : error;
  append(record);
}

void Recorder::append(const SampleRecord& record) {
  parts_.results.append(record);
  if (!record.error.empty()) ++n_failed_;
  parts_.manifest.count_samples(record.error.empty() ? 1 : 0, record.error.empty() ? 0 : 1);
  if (parts_.on_record) parts_.on_record(record);
}

}  // namespace kv
