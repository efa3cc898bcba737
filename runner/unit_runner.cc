#include "runner/unit_runner.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/error.h"
#include "runner/timing.h"

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

UnitRunner::UnitRunner(const Parts& parts)
    : parts_(parts), session_(parts.model, parts.config.run.prefill_chunk) {
  answer_options_.max_new_tokens = parts.config.run.max_new_tokens;
  answer_options_.batch = parts.plan.batch;
  answer_options_.stop = parts.stop;
}

const Sample& UnitRunner::sample_of(const Unit::Question& question) const {
  return parts_.preparation.models[parts_.model_index].samples[question.task][question.sample];
}

const Cell& UnitRunner::cell_of(const Item& item) const {
  return parts_.preparation.cell(parts_.model_index, item.question.task, item.compressor);
}

std::vector<UnitRunner::Item> UnitRunner::missing_items(const Unit& unit) const {
  std::vector<Item> items;
  for (size_t c = 0; c < parts_.config.compressors.size(); ++c) {
    for (const Unit::Question& question : unit.questions) {
      const Item item{c, question};
      if (!parts_.results.done(cell_of(item).fingerprint, sample_of(question).id))
        items.push_back(item);
    }
  }
  return items;
}

void UnitRunner::run(const Unit& unit) {
  const std::vector<Item> items = missing_items(unit);
  if (items.empty()) return;
  const std::vector<int32_t>& context = sample_of(unit.questions[0]).context_ids;
  plans_.clear();
  for (const CompressorSpec& spec : parts_.config.compressors)
    plans_.push_back(spec.plan.with_question(sample_of(unit.questions[0]).question_tokens));
  const CodecPtr kv_dtype = plain_codec(parts_.config.run.kv_dtype);
  // Cells whose codec acts on the prompt have a prefill of their own, shared among equal codecs.
  std::vector<Item> exact;
  std::map<std::string, std::vector<Item>> acting;
  for (const Item& item : items) {
    const CodecPtr codec = prompt_codec(plans_[item.compressor], kv_dtype);
    (codec == kv_dtype ? exact : acting[codec->spec()]).push_back(item);
  }
  parts_.manifest.count_tokens(
      0, static_cast<int64_t>(context.size()) * static_cast<int64_t>(items.size()));
  full_answers_.clear();
  const auto full = try_prefill(context, kv_dtype, exact, items);
  if (!full) return;
  run_items(*full, *full, exact);
  for (const auto& [spec, group] : acting) {
    if (parts_.stop()) return;
    const CompressionPlan& plan = plans_[group[0].compressor];
    if (const auto prompt = try_prefill(context, plan.codec, group, group))
      run_items(*prompt, *full, group);
  }
}

std::optional<PrefilledPrompt> UnitRunner::try_prefill(const std::vector<int32_t>& context,
                                                       const CodecPtr& codec,
                                                       const std::vector<Item>& served,
                                                       const std::vector<Item>& dependent) {
  std::vector<const CompressionPlan*> plans;
  for (const Item& item : served) plans.push_back(&plans_[item.compressor]);
  try {
    PrefillOptions options;
    options.codec = codec;
    options.needs = needs_of(plans, static_cast<int>(context.size()));
    std::optional<PrefilledPrompt> prompt = session_.prefill(context, options);
    parts_.manifest.count_tokens(static_cast<int64_t>(context.size()), 0);
    return prompt;
  } catch (const std::exception& e) {
    for (const Item& item : dependent) fail_item(item, e.what());
    return std::nullopt;
  }
}

void UnitRunner::run_items(const PrefilledPrompt& prompt, const PrefilledPrompt& full,
                           const std::vector<Item>& items) {
  size_t begin = 0;
  try {
    // Items are sorted by compressor.
    while (begin < items.size() && !parts_.stop()) {
      std::set<size_t> cells;
      size_t end = begin;
      while (end < items.size() && (cells.count(items[end].compressor) > 0 ||
                                    static_cast<int>(cells.size()) < parts_.plan.cells_at_once)) {
        cells.insert(items[end++].compressor);
      }
      run_group(prompt, full,
                {items.begin() + static_cast<long>(begin), items.begin() + static_cast<long>(end)});
      begin = end;
    }
  } catch (const std::exception& e) {
    // What has a record by now is complete; the rest of these items shares the failure.
    for (; begin < items.size(); ++begin) {
      if (!parts_.results.done(cell_of(items[begin]).fingerprint,
                               sample_of(items[begin].question).id)) {
        fail_item(items[begin], e.what());
      }
    }
  }
}

void UnitRunner::run_group(const PrefilledPrompt& prompt, const PrefilledPrompt& full,
                           const std::vector<Item>& items) {
  std::map<size_t, size_t> index_of;  // compressor -> its cache below
  std::vector<const CompressionPlan*> plans;
  for (const Item& item : items) {
    if (index_of.emplace(item.compressor, plans.size()).second) {
      plans.push_back(&plans_[item.compressor]);
    }
  }
  const std::vector<CompressedCache> caches = compress_all(*parts_.model, prompt, plans);
  std::vector<AnswerJob> jobs(items.size());
  std::vector<AnswerJob*> scored, generated, compared;
  for (size_t i = 0; i < items.size(); ++i) {
    jobs[i].sample = &sample_of(items[i].question);
    jobs[i].cache = &caches[index_of.at(items[i].compressor)].cache;
    jobs[i].is_full = parts_.config.compressors[items[i].compressor].is_none();
    (jobs[i].sample->kind == Sample::Kind::kScore ? scored : generated).push_back(&jobs[i]);
    if (parts_.config.tasks[items[i].question.task].task->compares()) compared.push_back(&jobs[i]);
  }
  answer_scored(prompt, full, scored);
  generate_jobs(session_, prompt.last_logits, generated, answer_options_);
  compare_answers(prompt, full, compared);
  const auto prompt_bytes = static_cast<int64_t>(prompt.cache.bytes_in_use());
  for (size_t i = 0; i < items.size(); ++i) {
    if (jobs[i].finished)
      finish_item(items[i], jobs[i], caches[index_of.at(items[i].compressor)], prompt_bytes);
  }
}

void UnitRunner::answer_scored(const PrefilledPrompt& prompt, const PrefilledPrompt& full,
                               const std::vector<AnswerJob*>& jobs) {
  std::map<const Sample*, std::vector<AnswerJob*>> by_sample;
  std::vector<const Sample*> order;
  for (AnswerJob* job : jobs) {
    if (by_sample[job->sample].empty()) order.push_back(job->sample);
    by_sample[job->sample].push_back(job);
  }
  for (const Sample* sample : order) {
    if (parts_.stop()) return;
    std::vector<AnswerJob*>& group = by_sample[sample];
    // The comparison needs the full cache's rows also where that cell has its record already or is
    // in another group.
    AnswerJob reference;
    if (!group[0]->is_full) {
      reference.sample = sample;
      reference.cache = &full.cache;
      reference.last_logits = &full.last_logits;
      reference.is_full = true;
      group.insert(group.begin(), &reference);
    }
    if (!score_jobs(session_, prompt.last_logits, group, parts_.stop)) return;
  }
}

void UnitRunner::compare_answers(const PrefilledPrompt& prompt, const PrefilledPrompt& full,
                                 const std::vector<AnswerJob*>& jobs) {
  std::map<const Sample*, std::vector<AnswerJob*>> by_sample;
  for (AnswerJob* job : jobs) {
    if (job->finished) by_sample[job->sample].push_back(job);
  }
  for (const auto& [sample, group] : by_sample) {
    const std::vector<int32_t>* ids = full_answer(full, group);
    const bool done = ids != nullptr && compare_jobs(session_, prompt.last_logits, full, *ids,
                                                     group, answer_options_);
    for (AnswerJob* job : group) job->finished = done;
  }
}

const std::vector<int32_t>* UnitRunner::full_answer(const PrefilledPrompt& full,
                                                    const std::vector<AnswerJob*>& jobs) {
  const Sample* sample = jobs[0]->sample;
  for (const AnswerJob* job : jobs) {
    if (job->is_full) full_answers_[sample] = job->answer.ids;
  }
  const auto known = full_answers_.find(sample);
  if (known != full_answers_.end()) return &known->second;
  // That cell has its record already: the same answer once more.
  AnswerJob reference;
  reference.sample = sample;
  reference.cache = &full.cache;
  reference.is_full = true;
  AnswerJob* const references[] = {&reference};
  generate_jobs(session_, full.last_logits, references, answer_options_);
  if (!reference.finished) return nullptr;
  return &(full_answers_[sample] = std::move(reference.answer.ids));
}

SampleRecord UnitRunner::new_record(const Item& item) const {
  const CompressorSpec& spec = parts_.config.compressors[item.compressor];
  const Task& task = *parts_.config.tasks[item.question.task].task;
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
  record.kv_bytes_full = record.n_context * row_bytes(model.config, 2);
  return record;
}

void UnitRunner::finish_item(const Item& item, const AnswerJob& job,
                             const CompressedCache& compressed, int64_t prompt_bytes) {
  SampleRecord record = new_record(item);
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
    record.scores = parts_.config.tasks[item.question.task].task->score(*job.sample, job.answer);
    record.scores.insert(job.against_full.begin(), job.against_full.end());
    if (parts_.config.run.timing) {
      measure_alone(session_, *job.sample, plans_[item.compressor], parts_.config.run, record);
    }
  } catch (const std::exception& e) {
    record.scores.clear();
    record.error = e.what();
  }
  append(record);
}

void UnitRunner::fail_item(const Item& item, const std::string& error) {
  SampleRecord record = new_record(item);
  record.error = error.empty() ? "failed without a message" : error;
  append(record);
}

void UnitRunner::append(const SampleRecord& record) {
  parts_.results.append(record);
  if (!record.error.empty()) ++n_failed_;
  parts_.manifest.count_samples(record.error.empty() ? 1 : 0, record.error.empty() ? 0 : 1);
  if (parts_.on_record) parts_.on_record(record);
}

}  // namespace kv
