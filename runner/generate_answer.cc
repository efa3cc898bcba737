#include <algorithm>
#include <chrono>

#include "engine/error.h"
#include "engine/tokenizer/tokenizer.h"
#include "runner/answer.h"
#include "runner/logits.h"

namespace kv {
namespace {

using Clock = std::chrono::steady_clock;

// Tokens of the questions that one pass feeds, unless one question alone is longer.
constexpr size_t kQuestionRows = 512;

size_t first_stop(const std::string& text, const std::vector<std::string>& stops) {
  size_t first = std::string::npos;
  for (const std::string& stop : stops) first = std::min(first, text.find(stop));
  return first;
}

}  // namespace

// One answer on its way.
struct Generator::Sequence {
  AnswerJob* job = nullptr;
  KvCache cache;
  LogitsHash hash;
  Clock::time_point start;
  std::vector<int32_t> next = {};  // chosen or given, not yet fed
  size_t part_start = 0;           // of the part at hand, in the answer's ids
};

Generator::Generator(Session& session, AnswerOptions options)
    : session_(session), options_(std::move(options)), vocab_(session.model().config.vocab) {}
Generator::~Generator() = default;

void Generator::add(AnswerJob* job) {
  KV_CHECK(job->last_logits != nullptr);
  waiting_.push_back(job);
}

bool Generator::idle() const {
  return waiting_.empty() && active_.empty();
}

size_t Generator::n_unfinished() const {
  return waiting_.size() + active_.size();
}

void Generator::drop() {
  waiting_.clear();
  active_.clear();
  finished_.clear();
}

std::vector<AnswerJob*> Generator::step() {
  const size_t room = static_cast<size_t>(std::max(1, options_.batch));
  while (!waiting_.empty() && active_.size() < room) admit();
  if (!active_.empty()) {
    // One token for each, or what is fed between two parts of an answer.
    std::vector<Segment> segments;
    for (Sequence& sequence : active_)
      segments.push_back({&sequence.cache, sequence.next, LogitRows::kLast});
    rows_.resize(active_.size() * static_cast<size_t>(vocab_));
    session_.forward(segments, rows_.data());
    std::vector<Sequence> going_on;
    for (size_t i = 0; i < active_.size(); ++i) {
      const float* row = rows_.data() + i * static_cast<size_t>(vocab_);
      active_[i].hash.add(row, vocab_);
      if (take(active_[i], row)) going_on.push_back(std::move(active_[i]));
    }
    active_ = std::move(going_on);
  }
  return std::exchange(finished_, {});
}

// Feeds the questions of the next jobs in one pass and takes their first tokens.
void Generator::admit() {
  const size_t room = static_cast<size_t>(std::max(1, options_.batch)) - active_.size();
  const Clock::time_point start = Clock::now();
  std::vector<Sequence> fresh;
  size_t n_tokens = 0;
  while (!waiting_.empty() && fresh.size() < room) {
    AnswerJob* job = waiting_.front();
    const size_t question = job->sample->continuation_ids.size();
    if (!fresh.empty() && n_tokens + question > kQuestionRows) break;
    n_tokens += question;
    fresh.push_back({job, job->cache->fork(), LogitsHash(), start});
    fresh.back().hash.add(job->last_logits->data(), vocab_);
    waiting_.pop_front();
  }
  std::vector<Segment> segments;
  std::vector<size_t> asked;
  for (size_t i = 0; i < fresh.size(); ++i) {
    const std::vector<int32_t>& question = fresh[i].job->sample->continuation_ids;
    if (question.empty()) continue;
    segments.push_back({&fresh[i].cache, question, LogitRows::kLast});
    asked.push_back(i);
  }
  std::vector<float> rows(segments.size() * static_cast<size_t>(vocab_));
  if (!segments.empty()) session_.forward(segments, rows.data());
  std::vector<const float*> row_of;
  for (const Sequence& sequence : fresh) row_of.push_back(sequence.job->last_logits->data());
  for (size_t k = 0; k < asked.size(); ++k) {
    row_of[asked[k]] = rows.data() + k * static_cast<size_t>(vocab_);
    fresh[asked[k]].hash.add(row_of[asked[k]], vocab_);
  }
  for (size_t i = 0; i < fresh.size(); ++i) {
    const bool goes_on = take(fresh[i], row_of[i]);
    fresh[i].job->first_token_ms =
        std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    if (goes_on) active_.push_back(std::move(fresh[i]));
  }
}

// The tokens that end a part of this sample's answer.
std::vector<int32_t> Generator::end_tokens(const Sample& sample) const {
  std::vector<int32_t> ends = sample.end_ids;
  if (sample.ignore_end) return ends;
  const std::vector<int>& eos = session_.model().config.eos_ids;
  ends.insert(ends.end(), eos.begin(), eos.end());
  return ends;
}

// Chooses the next token; false where the answer is complete.
bool Generator::take(Sequence& sequence, const float* row) {
  Answer& answer = sequence.job->answer;
  const Sample& sample = *sequence.job->sample;
  const int limit = sample.max_new_tokens > 0 ? sample.max_new_tokens : options_.max_new_tokens;
  const std::vector<int32_t> ends = end_tokens(sample);
  const bool first = answer.ids.size() == sequence.part_start;
  const int32_t token =
      sample.never_empty && first ? greedy_token_but(row, vocab_, ends) : greedy_token(row, vocab_);
  sequence.next.clear();
  if (std::find(ends.begin(), ends.end(), token) != ends.end())
    return end_part(sequence, "eos", std::string::npos);
  answer.ids.push_back(token);
  if (!sample.stop.empty()) {
    const size_t cut = first_stop(part_text(sequence), sample.stop);
    if (cut != std::string::npos) return end_part(sequence, "stop", cut);
  }
  sequence.next.push_back(token);
  if (static_cast<int>(answer.ids.size() - sequence.part_start) >= limit)
    return end_part(sequence, "length", std::string::npos);
  return true;
}

// Closes a part of the answer, its text cut to `cut` bytes. True where another one follows: what
// leads to it is fed next.
bool Generator::end_part(Sequence& sequence, const char* reason, size_t cut) {
  Answer& answer = sequence.job->answer;
  std::string text = part_text(sequence);
  if (cut != std::string::npos) text.resize(cut);
  answer.text += text;
  answer.parts.push_back(std::move(text));
  const auto& follow_ups = sequence.job->sample->follow_ups;
  if (answer.parts.size() > follow_ups.size()) return finish(sequence, reason);
  const std::vector<int32_t>& given = follow_ups[answer.parts.size() - 1];
  answer.text += decode(given);
  answer.ids.insert(answer.ids.end(), given.begin(), given.end());
  sequence.next.insert(sequence.next.end(), given.begin(), given.end());
  sequence.part_start = answer.ids.size();
  return true;
}

std::string Generator::part_text(const Sequence& sequence) const {
  const std::vector<int32_t>& ids = sequence.job->answer.ids;
  return decode({ids.begin() + static_cast<long>(sequence.part_start), ids.end()});
}

// Closes an answer. Always false: nothing comes after it.
bool Generator::finish(Sequence& sequence, const char* reason) {
  AnswerJob& job = *sequence.job;
  job.answer.stop_reason = reason;
  job.logits_hash = sequence.hash.hex();
  job.kv_bytes_end = static_cast<int64_t>(sequence.cache.bytes_in_use());
  job.finished = true;
  finished_.push_back(&job);
  return false;
}

std::string Generator::decode(const std::vector<int32_t>& ids) const {
  // Without a tokenizer (tasks on token ids) the ids are all there is.
  const auto& tokenizer = session_.model().tokenizer;
  return tokenizer ? tokenizer->decode(ids, true) : std::string();
}

void generate_jobs(Session& session, const std::vector<float>& last_logits,
                   std::span<AnswerJob* const> jobs, const AnswerOptions& options) {
  Generator generator(session, options);
  for (AnswerJob* job : jobs) {
    if (job->last_logits == nullptr) job->last_logits = &last_logits;
    generator.add(job);
  }
  while (!generator.idle() && !(options.stop && options.stop())) generator.step();
}

}  // namespace kv
