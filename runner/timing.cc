#include "runner/timing.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "compress/registry.h"
#include "engine/compression.h"
#include "runner/answer.h"
#include "runner/stats.h"

namespace kv {
namespace {

using Clock = std::chrono::steady_clock;

struct Times {
  double prefill_ms = 0, compress_ms = 0, decode_ms = 0, ttft_ms = 0, tpot_ms = 0;
};

double ms_since(Clock::time_point& start) {
  const auto now = Clock::now();
  const double ms = std::chrono::duration<double, std::milli>(now - start).count();
  start = now;
  return ms;
}

Times measure_once(Session& session, const Sample& sample, const CompressionPlan& plan,
                   const RunOptions& run) {
  Times times;
  PrefillOptions options;
  options.codec = prompt_codec(plan, plain_codec(run.kv_dtype));
  options.step = prompt_rules(plan);
  options.cut = prompt_cut(plan, session.model().config, plain_codec(run.kv_dtype));
  options.positions = positions_of(plan);
  options.needs = needs_of({&plan}, static_cast<int>(sample.context_ids.size()));
  auto start = Clock::now();
  const PrefilledPrompt prompt = session.prefill(sample.context_ids, options);
  times.prefill_ms = ms_since(start);
  const CompressedCache compressed = compress(session.model(), prompt, plan);
  times.compress_ms = ms_since(start);
  AnswerJob job;
  job.sample = &sample;
  job.cache = &compressed.cache;
  AnswerJob* const jobs[] = {&job};
  const bool scored = sample.kind == Sample::Kind::kScore;
  if (scored) {
    score_jobs(session, prompt.last_logits, jobs);
  } else {
    AnswerOptions answer;
    answer.max_new_tokens = run.max_new_tokens;
    generate_jobs(session, prompt.last_logits, jobs, answer);
  }
  times.decode_ms = ms_since(start);
  // A scored suffix has no first token of its own: its tokens are known, so only the time per token
  // says something.
  const double first = scored ? 0 : job.first_token_ms;
  const size_t n_later =
      scored ? job.answer.nll.size() : std::max<size_t>(1, job.answer.ids.size()) - 1;
  times.ttft_ms = times.prefill_ms + times.compress_ms + first;
  times.tpot_ms = n_later > 0 ? (times.decode_ms - first) / static_cast<double>(n_later) : 0;
  return times;
}

}  // namespace

void measure_alone(Session& session, const Sample& sample, const CompressionPlan& plan,
                   const RunOptions& run, SampleRecord& record) {
  for (int i = 0; i < run.timing.warmup; ++i) measure_once(session, sample, plan, run);
  std::vector<Times> runs;
  for (int i = 0; i < run.timing.repetitions; ++i)
    runs.push_back(measure_once(session, sample, plan, run));
  const auto take = [&](const char* name, double Times::*member, std::optional<double>& field) {
    std::vector<double> values;
    for (const Times& times : runs) values.push_back(times.*member);
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    record.timing_spread[name] = *most - *least;
    field = median(std::move(values));
  };
  take("prefill_ms", &Times::prefill_ms, record.prefill_ms);
  take("compress_ms", &Times::compress_ms, record.compress_ms);
  take("decode_ms", &Times::decode_ms, record.decode_ms);
  take("ttft_ms", &Times::ttft_ms, record.ttft_ms);
  take("tpot_ms", &Times::tpot_ms, record.tpot_ms);
}

}  // namespace kv
