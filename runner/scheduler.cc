#include "runner/scheduler.h"

#include <algorithm>
#include <set>

#include "engine/compression.h"
#include "engine/error.h"
#include "runner/timing.h"

namespace kv {

struct Scheduler::Context {
  // Cells whose prompt is the same: those of exact prompts first, then one part for each codec or
  // method that acts on the prompt.
  struct Part {
    CodecPtr codec;
    StepPtr step;
    std::vector<SweepItem> items;  // by compressor
  };
  const std::vector<int32_t>* ids = nullptr;
  std::vector<CompressionPlan> plans;  // by compressor, told the question's length
  std::vector<Part> parts;
  size_t part = 0, next_item = 0;
  std::shared_ptr<const PrefilledPrompt> full;    // in kv_dtype
  std::shared_ptr<const PrefilledPrompt> prompt;  // of the part at hand; null: not prefilled yet
  // The full cache's answers that are known, by sample.
  std::shared_ptr<std::map<const Sample*, std::vector<int32_t>>> full_answers =
      std::make_shared<std::map<const Sample*, std::vector<int32_t>>>();
};

struct Scheduler::Group {
  std::vector<SweepItem> items;
  std::vector<AnswerJob> jobs;  // of the items
  std::vector<bool> recorded;   // likewise
  std::vector<CompressedCache> caches;
  std::map<size_t, size_t> cache_of;  // compressor -> index of its cache
  std::vector<float> last_logits;     // of the context
  int64_t prompt_bytes = 0;
  int64_t list_bytes = 0;  // of what stayed, beside the pages
  // Only where answers are compared with the full cache's.
  std::shared_ptr<const PrefilledPrompt> full;
  std::shared_ptr<std::map<const Sample*, std::vector<int32_t>>> full_answers;

  const CompressedCache& cache(size_t item) const {
    return caches[cache_of.at(items[item].compressor)];
  }
};

Scheduler::Scheduler(const Parts& parts)
    : parts_(parts),
      session_(parts.model, parts.config.run.prefill_chunk),
      answer_options_{parts.config.run.max_new_tokens, parts.plan.batch, parts.stop},
      costs_(parts.config, parts.model->config),
      generator_(session_, answer_options_) {
  for (const Unit& unit : parts.prepared.units) units_.push_back(&unit);
}

Scheduler::~Scheduler() = default;

void Scheduler::run() {
  while (!parts_.stop()) {
    while (!parts_.stop() && fits_next() && open_next()) close_finished();
    if (generator_.idle()) {
      if (units_.empty() && opening_ == nullptr) break;
      continue;
    }
    step();
    close_finished();
  }
  generator_.drop();
  groups_.clear();
  opening_.reset();
  prefixes_.clear();
}

std::vector<SweepItem> Scheduler::missing_items(const Unit& unit) const {
  std::vector<SweepItem> items;
  for (size_t c = 0; c < parts_.config.compressors.size(); ++c) {
    for (const Unit::Question& question : unit.questions) {
      if (!parts_.recorder.done({c, question})) items.push_back({c, question});
    }
  }
  return items;
}

int64_t Scheduler::bytes_in_flight() const {
  auto bytes = static_cast<int64_t>(page_bytes_alive());
  bytes += bytes / 16;  // headers of pages
  for (const Group& group : groups_) bytes += group.list_bytes;
  return bytes;
}

// Whether the next cells may join what is in flight. What stands alone fits: the plan saw to that.
bool Scheduler::fits_next() const {
  if (opening_ == nullptr && units_.empty()) return false;
  if (groups_.empty()) return true;
  // Cells are measured alone (timing): a context begins once the former is done.
  if (opening_ == nullptr && parts_.config.run.timing.on) return false;
  if (generator_.n_unfinished() >= static_cast<size_t>(parts_.plan.batch)) return false;
  size_t n_tokens = 0;
  int64_t needed = 0, cell = 0;
  if (opening_ != nullptr) {
    n_tokens = opening_->ids->size();
  } else {
    n_tokens = parts_.recorder.sample_of(units_.front()->questions[0]).context_ids.size();
  }
  std::vector<const CompressionPlan*> plans;
  for (const CompressorSpec& spec : parts_.config.compressors) {
    plans.push_back(&spec.plan);
    cell = std::max(cell, costs_.cell(n_tokens, spec.plan));
  }
  if (opening_ == nullptr || opening_->prompt == nullptr) {
    needed = costs_.prompt(n_tokens, *plain_codec(parts_.config.run.kv_dtype),
                           needs_of(plans, static_cast<int>(n_tokens)));
  }
  return bytes_in_flight() + needed + cell <= parts_.plan.shared_bytes;
}

// Opens the next cells of the context at hand or of a new one. False where nothing is left.
bool Scheduler::open_next() {
  while (opening_ == nullptr) {
    if (units_.empty()) return false;
    const Unit* unit = units_.front();
    units_.pop_front();
    std::vector<SweepItem> items = missing_items(*unit);
    if (!items.empty()) opening_ = open_context(*unit, std::move(items));
  }
  if (parts_.stop()) return true;  // a prefill that was cut short is not a prompt
  Context& context = *opening_;
  Context::Part& part = context.parts[context.part];
  if (context.prompt == nullptr) {
    try {
      context.prompt = context.part == 0 ? context.full : prefill(context, context.part);
    } catch (const std::exception& e) {
      for (const SweepItem& item : part.items) parts_.recorder.fail(item, e.what());
      part.items.clear();
    }
  }
  if (parts_.stop()) return true;
  if (context.next_item < part.items.size()) open_group(context, take_items(context));
  if (context.next_item >= part.items.size()) {
    context.prompt.reset();
    context.next_item = 0;
    if (++context.part == context.parts.size()) opening_.reset();
  }
  return true;
}

// The context with its full cache; null where that failed: the items then have their records.
std::unique_ptr<Scheduler::Context> Scheduler::open_context(const Unit& unit,
                                                            std::vector<SweepItem> items) {
  auto context = std::make_unique<Context>();
  const Sample& first = parts_.recorder.sample_of(unit.questions[0]);
  context->ids = &first.context_ids;
  for (const CompressorSpec& spec : parts_.config.compressors)
    context->plans.push_back(spec.plan.with_question(first.question_tokens));
  const CodecPtr kv_dtype = plain_codec(parts_.config.run.kv_dtype);
  std::map<std::string, Context::Part> acting;
  context->parts.push_back({kv_dtype, nullptr, {}});
  for (const SweepItem& item : items) {
    const CompressionPlan& plan = parts_.recorder.compressor_of(item).plan;
    const std::string kind = prompt_kind(plan, kv_dtype);
    Context::Part& part = kind == kv_dtype->spec() ? context->parts[0] : acting[kind];
    part.codec = prompt_codec(plan, kv_dtype);
    part.step = prompt_rules(plan);
    part.items.push_back(item);
  }
  for (auto& [spec, part] : acting) context->parts.push_back(std::move(part));
  parts_.manifest.count_tokens(
      0, static_cast<int64_t>(context->ids->size()) * static_cast<int64_t>(items.size()));
  try {
    context->full = prefill(*context, 0);
  } catch (const std::exception& e) {
    for (const SweepItem& item : items) parts_.recorder.fail(item, e.what());
    return nullptr;
  }
  return context;
}

// The context as a part stores it, with what its items' policies need.
std::shared_ptr<const PrefilledPrompt> Scheduler::prefill(const Context& context, size_t index) {
  const Context::Part& part = context.parts[index];
  const PhaseTimer timer(phases_["prefill"], session_);
  std::vector<const CompressionPlan*> plans;
  for (const SweepItem& item : part.items) plans.push_back(&context.plans[item.compressor]);
  PrefillOptions options;
  options.codec = part.codec;
  options.step = part.step;
  if (index > 0) {
    options.cut =
        prompt_cut(*plans.at(0), parts_.model->config, plain_codec(parts_.config.run.kv_dtype));
    options.positions = positions_of(*plans.at(0));
  }
  options.needs = needs_of(plans, static_cast<int>(context.ids->size()));
  if (index == 0) {
    options.from = prefixes_.enter(*context.ids, options.needs);
    if (!units_.empty()) {
      const auto& next = parts_.recorder.sample_of(units_.front()->questions[0]).context_ids;
      options.save_at = prefixes_.save_at(next, options.needs);
    }
  }
  options.go_on = [&](int done) {
    if (parts_.on_progress)
      parts_.on_progress(fmt::format("prefill {}/{}", done, context.ids->size()));
    return !parts_.stop();
  };
  const int64_t before = session_.tokens_computed();
  auto prompt = std::make_shared<PrefilledPrompt>(session_.prefill(*context.ids, options));
  prefixes_.add(std::exchange(prompt->prefix, nullptr));
  parts_.manifest.count_tokens(session_.tokens_computed() - before, 0);
  return prompt;
}

// As many of the part's next cells as fit beside what is in flight, at least one.
std::vector<SweepItem> Scheduler::take_items(Context& context) const {
  const std::vector<SweepItem>& all = context.parts[context.part].items;
  int64_t room = parts_.plan.shared_bytes - bytes_in_flight();
  std::vector<SweepItem> items;
  while (context.next_item < all.size()) {
    const SweepItem& item = all[context.next_item];
    if (items.empty() || item.compressor != items.back().compressor) {
      room -= costs_.cell(context.ids->size(), parts_.recorder.compressor_of(item).plan);
      if (room < 0 && !items.empty()) break;
    }
    items.push_back(item);
    ++context.next_item;
  }
  return items;
}

void Scheduler::open_group(Context& context, std::vector<SweepItem> items) {
  Group& group = groups_.emplace_back();
  group.items = items;
  group.recorded.assign(items.size(), false);
  try {
    compress_group(context, group);
    score_group(context, group);
  } catch (const std::exception& e) {
    const bool untouched =
        std::find(group.recorded.begin(), group.recorded.end(), true) == group.recorded.end();
    const bool many = items.front().compressor != items.back().compressor;
    if (!untouched || !many) fail_rest(group, e.what());
    groups_.pop_back();
    if (!untouched || !many) return;
    // One cell's failure is not its neighbours': each tries alone.
    for (size_t begin = 0; begin < items.size();) {
      const auto first = items.begin() + static_cast<std::ptrdiff_t>(begin);
      const auto last = std::find_if(first, items.end(), [&](const SweepItem& item) {
        return item.compressor != first->compressor;
      });
      begin = static_cast<size_t>(last - items.begin());
      open_group(context, {first, last});
    }
    return;
  }
  for (AnswerJob& job : group.jobs) {
    if (job.sample->kind == Sample::Kind::kGenerate) generator_.add(&job);
  }
}

void Scheduler::compress_group(const Context& context, Group& group) {
  const PhaseTimer timer(phases_["compress"], session_);
  std::vector<const CompressionPlan*> plans;
  for (const SweepItem& item : group.items) {
    if (group.cache_of.emplace(item.compressor, plans.size()).second)
      plans.push_back(&context.plans[item.compressor]);
  }
  group.caches = compress_all(*parts_.model, *context.prompt, plans);
  for (CompressedCache& cell : group.caches) {
    cell.scores.clear();  // of use to probes only
    for (const auto& layer : cell.kept) {
      for (const auto& head : layer)  // here and as positions
        group.list_bytes += static_cast<int64_t>(2 * head.size() * sizeof(int32_t));
    }
  }
  group.last_logits = context.prompt->last_logits;
  group.prompt_bytes = static_cast<int64_t>(context.prompt->cache.bytes_in_use());
  group.full_answers = context.full_answers;
  group.jobs.resize(group.items.size());
  for (size_t i = 0; i < group.items.size(); ++i) {
    const SweepItem& item = group.items[i];
    AnswerJob& job = group.jobs[i];
    job.sample = &parts_.recorder.sample_of(item.question);
    job.cache = &group.cache(i).cache;
    job.last_logits = &group.last_logits;
    job.is_full = parts_.recorder.compressor_of(item).is_none();
    if (parts_.recorder.task_of(item).compares()) group.full = context.full;
  }
}

// Texts that are given need no sequence: they are scored at once, all cells of one together.
void Scheduler::score_group(const Context& context, Group& group) {
  const PhaseTimer timer(phases_["suffix"], session_);
  std::map<const Sample*, std::vector<size_t>> by_sample;
  std::vector<const Sample*> order;
  for (size_t i = 0; i < group.jobs.size(); ++i) {
    const Sample* sample = group.jobs[i].sample;
    if (sample->kind != Sample::Kind::kScore) continue;
    if (by_sample[sample].empty()) order.push_back(sample);
    by_sample[sample].push_back(i);
  }
  for (const Sample* sample : order) {
    if (parts_.stop()) return;
    std::vector<AnswerJob*> jobs;
    for (const size_t i : by_sample[sample]) jobs.push_back(&group.jobs[i]);
    // The comparison needs the full cache's rows also where that cell has its record already or is
    // in another group.
    AnswerJob reference;
    if (!jobs[0]->is_full) {
      reference.sample = sample;
      reference.cache = &context.full->cache;
      reference.last_logits = &context.full->last_logits;
      reference.is_full = true;
      jobs.insert(jobs.begin(), &reference);
    }
    if (!score_jobs(session_, group.last_logits, jobs, parts_.stop)) return;
    for (const size_t i : by_sample[sample]) record(group, i);
  }
}

// One token for everything in flight.
void Scheduler::step() {
  try {
    const PhaseTimer timer(phases_["decode"], session_);
    generator_.step();
  } catch (const std::exception& e) {
    // A pass serves all sequences, so its failure is theirs.
    generator_.drop();
    for (Group& group : groups_) {
      for (size_t i = 0; i < group.jobs.size(); ++i) {
        if (group.recorded[i] || group.jobs[i].finished) continue;
        parts_.recorder.fail(group.items[i], e.what());
        group.recorded[i] = true;
      }
    }
  }
}

// Records what is answered and lets go of groups that have nothing left.
void Scheduler::close_finished() {
  for (auto group = groups_.begin(); group != groups_.end();) {
    bool all_finished = true;
    for (size_t i = 0; i < group->jobs.size(); ++i) {
      const bool compares = parts_.recorder.task_of(group->items[i]).compares();
      if (!group->recorded[i] && group->jobs[i].finished && !compares) record(*group, i);
      all_finished = all_finished && (group->recorded[i] || group->jobs[i].finished);
    }
    if (!all_finished) {
      ++group;
      continue;
    }
    try {
      compare_group(*group);
    } catch (const std::exception& e) {
      fail_rest(*group, e.what());
    }
    group = groups_.erase(group);
  }
}

// Jobs of tasks that ask for it, along the full cache's answers. Those that a stop cuts off get no
// record.
void Scheduler::compare_group(Group& group) {
  std::map<const Sample*, std::vector<size_t>> by_sample;
  for (size_t i = 0; i < group.jobs.size(); ++i) {
    if (!group.recorded[i]) by_sample[group.jobs[i].sample].push_back(i);
  }
  if (by_sample.empty()) return;
  for (const auto& [sample, indices] : by_sample) {
    std::vector<AnswerJob*> jobs;
    for (const size_t i : indices) jobs.push_back(&group.jobs[i]);
    const PhaseTimer timer(phases_["compare"], session_);
    const std::vector<int32_t>* ids = full_answer(group, jobs);
    if (ids == nullptr ||
        !compare_jobs(session_, group.last_logits, *group.full, *ids, jobs, answer_options_))
      return;
    for (const size_t i : indices) record(group, i);
  }
}

// The full cache's answer to the jobs' sample: one of theirs, one that is known, or made anew. Null
// where a stop ended that.
const std::vector<int32_t>* Scheduler::full_answer(Group& group,
                                                   const std::vector<AnswerJob*>& jobs) {
  const Sample* sample = jobs[0]->sample;
  auto& known = *group.full_answers;
  for (const AnswerJob* job : jobs) {
    if (job->is_full) known[sample] = job->answer.ids;
  }
  const auto at = known.find(sample);
  if (at != known.end()) return &at->second;
  // That cell has its record already: the same answer once more.
  AnswerJob reference;
  reference.sample = sample;
  reference.cache = &group.full->cache;
  reference.is_full = true;
  AnswerJob* const references[] = {&reference};
  generate_jobs(session_, group.full->last_logits, references, answer_options_);
  if (!reference.finished) return nullptr;
  return &(known[sample] = std::move(reference.answer.ids));
}

void Scheduler::record(Group& group, size_t index) {
  const SweepItem& item = group.items[index];
  const AnswerJob& job = group.jobs[index];
  SampleRecord record = parts_.recorder.make(item, job, group.cache(index), group.prompt_bytes);
  const TimingOptions& timing = parts_.config.run.timing;
  if (timing.wants(record.task, item.question.sample) && record.error.empty()) {
    try {
      const CompressionPlan& plan = parts_.recorder.compressor_of(item).plan;
      measure_alone(session_, *job.sample, plan.with_question(job.sample->question_tokens),
                    parts_.config.run, record);
    } catch (const std::exception& e) {
      record.scores.clear();
      record.error = e.what();
    }
  }
  parts_.recorder.append(record);
  group.recorded[index] = true;
}

void Scheduler::fail_rest(Group& group, const std::string& error) {
  for (size_t i = 0; i < group.items.size(); ++i) {
    if (group.recorded[i]) continue;
    parts_.recorder.fail(group.items[i], error);
    group.recorded[i] = true;
  }
}

}  // namespace kv
