#include "engine/session.h"

#include <algorithm>
#include <numeric>

#include "engine/cpu_clock.h"
#include "engine/error.h"
#include "engine/repeated_cut.h"
#include "engine/scratch.h"

namespace kv {
namespace {

constexpr int kDefaultChunk =
    512;  // rows in one pass: enough to reuse weights, small enough for the caches
constexpr int kLogitRows = 128;  // rows of logits held at once while streaming
constexpr int kRopeStep = 2048;  // positions by which the RoPE table grows

}  // namespace

Session::Session(std::shared_ptr<const Model> model, int prefill_chunk)
    : model_(std::move(model)),
      prefill_chunk_(prefill_chunk > 0 ? prefill_chunk : kDefaultChunk),
      rope_(std::make_shared<LayerRopes>(model_->config, kRopeStep)),
      scratch_(std::make_unique<Scratch>()) {}

Session::~Session() = default;

void Session::check_ids(std::span<const int32_t> ids) const {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= model_->config.vocab) {
      throw_usage("token id {} at index {} is outside the model's vocabulary of {}", ids[i], i,
                  model_->config.vocab);
    }
  }
}

void Session::rope_for(std::span<const Segment> segments) {
  int needed = 0;
  for (const Segment& s : segments) {
    const int n = static_cast<int>(s.tokens.size());
    check_length(model_->config, int64_t{s.cache->n_tokens()} + n, "");
    const StepRows* step = s.cache->step();
    needed = std::max(needed, step != nullptr ? step->positions(n) : s.cache->n_tokens() + n);
  }
  if (needed <= rope_->n_positions()) return;
  rope_ = std::make_shared<LayerRopes>(model_->config, std::max(needed, 2 * rope_->n_positions()));
}

namespace {

// (query, row) pairs of n queries whose rows are the last of n_rows, in a layer with this window (0: none).
double pairs_seen(double n_rows, double n, double window) {
  const double all = n * n_rows - n * (n - 1) / 2;
  if (window == 0 || n_rows <= window) return all;
  // Query i of n sees min(window, n_rows - n + i + 1) rows.
  const double shorter = std::clamp(window - (n_rows - n), 0.0, n);
  return shorter * (n_rows - n) + shorter * (shorter + 1) / 2 + (n - shorter) * window;
}

}  // namespace

void Session::count_flops(std::span<const Segment> segments) {
  const ModelConfig& c = model_->config;
  const double q_width = static_cast<double>(c.n_heads) * c.head_dim;
  const double kv_width = 2.0 * c.n_kv_heads * c.head_dim;
  const double weights = c.dim * (q_width + kv_width) + q_width * c.dim +
                         (c.gated_mlp ? 3.0 : 2.0) * c.dim * c.hidden_dim;
  for (const Segment& s : segments) {
    const double n = static_cast<double>(s.tokens.size());
    double pairs = 0;  // (query, row) of all KV heads
    if (s.cache->step() != nullptr) pairs = n * static_cast<double>(s.cache->step()->rows_seen());
    for (int l = 0; l < c.n_layers && s.cache->step() == nullptr; ++l) {
      for (int h = 0; h < c.n_kv_heads; ++h)
        pairs += pairs_seen(s.cache->head(l, h).n_rows, n, c.layer(l).window);
    }
    flops_computed_ += 2 * n * c.n_layers * weights + 4.0 * c.head_dim * c.group() * pairs;
  }
}

void Session::stream_logits(int first_row, int n_rows,
                            const std::function<void(int, int, const float*)>& on_logits) {
  std::vector<float> logits;
  for (int done = 0; done < n_rows; done += kLogitRows) {
    std::vector<int> rows(std::min(kLogitRows, n_rows - done));
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = done + static_cast<int>(i);
    logits.resize(rows.size() * model_->config.vocab);
    logits_of(rows, logits.data());
    on_logits(first_row + done, static_cast<int>(rows.size()), logits.data());
  }
}

int Session::longest_pass(const KvCache& cache, int n_tokens) const {
  if (cache.codec().codes_blocks()) return n_tokens;
  if (cache.single_tokens()) return 1;
  return cache.cuts().active() ? std::min(n_tokens, cache.cuts().tokens_left()) : n_tokens;
}

bool Session::in_pieces(const Segment& s) const {
  const int n = static_cast<int>(s.tokens.size());
  return longest_pass(*s.cache, n) < n;
}

int Session::next_chunk(const KvCache& cache, int n_tokens) const {
  const int longest = longest_pass(cache, n_tokens);
  return cache.codec().codes_blocks() ? longest : std::min(longest, prefill_chunk_);
}

void Session::count_cuts(std::span<const Segment> segments) {
  for (const Segment& s : segments) {
    if (s.cache->cuts().active() && s.cache->cuts().count(static_cast<int>(s.tokens.size())))
      cut_back(*model_, *rope_, *s.cache);
  }
}

namespace {

// (n_layers, n_heads) blocks of `from` columns become blocks of `to` columns; new ones are 0, columns
// beyond `to` are left out.
std::vector<double> with_columns(const std::vector<double>& sums, size_t from, size_t to) {
  std::vector<double> result(from == 0 ? 0 : sums.size() / from * to, 0.0);
  for (size_t block = 0; block * from < sums.size(); ++block) {
    std::copy_n(sums.begin() + static_cast<int64_t>(block * from), std::min(from, to),
                result.begin() + static_cast<int64_t>(block * to));
  }
  return result;
}

}  // namespace

PrefilledPrompt Session::prefill(std::span<const int32_t> ids, const PrefillOptions& options) {
  KV_CHECK(!ids.empty());
  check_ids(ids);
  const int n = static_cast<int>(ids.size());
  const ModelConfig& config = model_->config;
  const PromptPrefix* from = options.from;
  const int n_known = from != nullptr ? from->cache.n_tokens() : 0;
  KV_CHECK(from == nullptr ||
           (from->needs == options.needs && can_go_on(options.needs, n_known, n)));
  KV_CHECK(options.step == nullptr || (from == nullptr && options.save_at == 0));
  PrefilledPrompt prompt(from != nullptr ? from->cache.fork() : KvCache(config, options.codec));
  prompt.last_logits.resize(config.vocab);
  prompt.window.n_window = std::min(options.needs.window_queries, n);
  prompt.window.queries.resize(static_cast<size_t>(config.n_layers) * config.n_heads *
                               prompt.window.n_window * config.head_dim);
  if (from != nullptr) {
    prompt.query_moments = from->moments;
  } else {
    for (const QueryStatisticsNeeds& wanted : options.needs.query_statistics)
      prompt.query_moments.emplace_back(config, wanted);
  }
  if (options.step) prompt.cache.set_step(make_step_rows(config, options.codec, options.step, n));
  std::vector<float> softmax_max, softmax_sum;
  if (options.needs.attention_received) {
    const size_t heads = static_cast<size_t>(config.n_heads);
    prompt.attention_received =
        from != nullptr
            ? with_columns(from->attention_received, static_cast<size_t>(n_known), ids.size())
            : std::vector<double>(config.n_layers * heads * n, 0.0);
    softmax_max.resize(heads * next_chunk(prompt.cache, n));
    softmax_sum.resize(softmax_max.size());
  }
  PromptRecorder recorder;
  recorder.window = &prompt.window;
  recorder.first_token = n - prompt.window.n_window;
  recorder.moments = &prompt.query_moments;
  if (options.needs.attention_received) recorder.attention_received = &prompt.attention_received;
  recorder.n_tokens = n;
  recorder.softmax_max = &softmax_max;
  recorder.softmax_sum = &softmax_sum;
  if (options.cut) prompt.cache.set_cuts(CutState(config, options.cut, options.positions));
  for (int done = n_known; done < n;) {
    const int end = done < options.save_at ? options.save_at : n;
    const StepRows* step = prompt.cache.step();
    const int count = step != nullptr ? std::min(step->prompt_pass(prefill_chunk_), end - done)
                                      : next_chunk(prompt.cache, end - done);
    const Segment segment{&prompt.cache, ids.subspan(done, count), LogitRows::kNone};
    run_layers({&segment, 1}, &recorder);
    if (options.on_logits) stream_logits(done, count, options.on_logits);
    done += count;
    if (done == options.save_at) {
      prompt.prefix = std::make_shared<const PromptPrefix>(PromptPrefix{
          options.needs, prompt.cache.fork(), prompt.query_moments,
          with_columns(prompt.attention_received, ids.size(), static_cast<size_t>(done))});
    }
    if (done == n && options.cut) cut_back(*model_, *rope_, prompt.cache);
    if (done == n) {
      const int last = count - 1;
      logits_of({&last, 1}, prompt.last_logits.data());
    } else if (options.go_on && !options.go_on(done)) {
      return prompt;
    }
  }
  for (const QueryMoments& m : prompt.query_moments) {
    const CpuTimer timer(seconds_recording_);
    prompt.query_statistics.push_back(m.statistics());
  }
  for (const RepeatNeeds& repeat : options.needs.repeats) {
    prompt.repeat_scores.emplace_back(repeat, repeat_scores(prompt.cache, ids, repeat));
  }
  prompt.rope = rope_;
  return prompt;
}

std::vector<float> Session::repeat_scores(const KvCache& cache, std::span<const int32_t> ids,
                                          const RepeatNeeds& needs) {
  const ModelConfig& config = model_->config;
  const RepeatNeeds repeat = resolve_repeat(needs, *model_, ids);
  const int n = static_cast<int>(ids.size());
  std::vector<float> scores(static_cast<size_t>(config.n_layers) * config.n_kv_heads * n, 0.0f);
  const int text = static_cast<int>(repeat.prefix_ids.size());  // where the user's text begins
  for (int start = text; start < n; start += std::min(repeat.chunk, n - start)) {
    const int end = start + std::min(repeat.chunk, n - start);
    const RepeatPass pass{std::min(repeat.sinks, start), start, end, n, repeat.plus, scores.data()};
    const std::vector<int32_t> tokens = repeat_tokens(repeat, ids, start, end, start == text);
    check_ids(tokens);
    PromptRecorder recorder;
    recorder.repeat = &pass;
    KvCache fork = cache.fork();
    const int n_tokens = static_cast<int>(tokens.size());
    for (int done = 0, count = 0; done < n_tokens; done += count) {
      count = next_chunk(fork, n_tokens - done);
      const Segment segment{&fork, std::span(tokens).subspan(done, count), LogitRows::kNone};
      run_layers({&segment, 1}, &recorder);
    }
  }
  return scores;
}

namespace {

int wanted_rows(const Segment& s) {
  const int n = static_cast<int>(s.tokens.size());
  if (s.logits == LogitRows::kNone) return 0;
  return s.logits == LogitRows::kAll ? n : std::min(n, 1);
}

}  // namespace

void Session::forward(std::span<const Segment> segments, float* logits) {
  std::vector<Segment> together, stepwise;
  std::vector<float*> stepwise_logits;
  std::vector<bool> stepped;  // by segment
  std::vector<int> rows;      // of the pass, for `together`
  int first = 0;
  float* next = logits;
  for (const Segment& s : segments) {
    check_ids(s.tokens);
    const int n = static_cast<int>(s.tokens.size()), wanted = wanted_rows(s);
    stepped.push_back(in_pieces(s));
    if (stepped.back()) {
      stepwise.push_back(s);
      stepwise_logits.push_back(next);
    } else {
      together.push_back(s);
      for (int i = n - wanted; i < n; ++i) rows.push_back(first + i);
      first += n;
    }
    next += static_cast<int64_t>(wanted) * model_->config.vocab;
  }
  forward_stepwise(stepwise, stepwise_logits);
  if (first == 0) return;
  run_layers(together, nullptr);
  if (stepwise.empty()) return logits_of(rows, logits);
  std::vector<float> gathered(rows.size() * model_->config.vocab);
  logits_of(rows, gathered.data());
  const float* from = gathered.data();
  next = logits;
  for (size_t i = 0; i < segments.size(); ++i) {
    const int64_t n = static_cast<int64_t>(wanted_rows(segments[i])) * model_->config.vocab;
    if (!stepped[i]) {
      std::copy_n(from, n, next);
      from += n;
    }
    next += n;
  }
}

void Session::feed_together(std::span<const Segment> segments, const OnRows& on_rows) {
  const int64_t vocab = model_->config.vocab;
  std::vector<Segment> together;
  std::vector<std::pair<size_t, int>> row_of;  // of the pass: its segment and its index in it
  for (size_t s = 0; s < segments.size(); ++s) {
    check_ids(segments[s].tokens);
    const int n = static_cast<int>(segments[s].tokens.size());
    if (in_pieces(segments[s])) continue;
    together.push_back(segments[s]);
    for (int i = 0; i < n; ++i) row_of.emplace_back(s, i);
  }
  if (together.size() < segments.size()) feed_stepwise(segments, on_rows);
  if (row_of.empty()) return;
  run_layers(together, nullptr);
  std::vector<float> logits;
  for (size_t done = 0; done < row_of.size(); done += kLogitRows) {
    std::vector<int> rows(std::min<size_t>(kLogitRows, row_of.size() - done));
    std::iota(rows.begin(), rows.end(), static_cast<int>(done));
    logits.resize(rows.size() * static_cast<size_t>(vocab));
    logits_of(rows, logits.data());
    for (size_t i = 0, next = 0; i < rows.size(); i = next) {
      const auto [segment, first] = row_of[done + i];
      while (next < rows.size() && row_of[done + next].first == segment) ++next;
      on_rows(segment, first, static_cast<int>(next - i),
              logits.data() + static_cast<int64_t>(i) * vocab);
    }
  }
}

void Session::feed_stepwise(std::span<const Segment> segments, const OnRows& on_rows) {
  const int64_t vocab = model_->config.vocab;
  std::vector<size_t> done(segments.size(), 0);  // tokens of each
  std::vector<float> logits;
  for (;;) {
    std::vector<Segment> pass;
    std::vector<size_t> of;  // the pass's segments among all
    for (size_t i = 0; i < segments.size(); ++i) {
      const Segment& s = segments[i];
      const size_t left = s.tokens.size() - done[i];
      if (left == 0 || (done[i] == 0 && !in_pieces(s))) continue;
      const auto n = static_cast<size_t>(longest_pass(*s.cache, static_cast<int>(left)));
      pass.push_back({s.cache, s.tokens.subspan(done[i], n), LogitRows::kAll});
      of.push_back(i);
    }
    if (pass.empty()) return;
    run_layers(pass, nullptr);
    int first_row = 0;
    for (size_t i = 0; i < pass.size(); ++i) {
      const int n = static_cast<int>(pass[i].tokens.size());
      std::vector<int> rows(n);
      std::iota(rows.begin(), rows.end(), first_row);
      logits.resize(static_cast<size_t>(n) * vocab);
      logits_of(rows, logits.data());
      on_rows(of[i], static_cast<int>(done[of[i]]), n, logits.data());
      done[of[i]] += n;
      first_row += n;
    }
  }
}

void Session::forward_stepwise(std::span<const Segment> segments, std::span<float* const> logits) {
  const int64_t vocab = model_->config.vocab;
  std::vector<size_t> done(segments.size(), 0);  // tokens of each
  std::vector<float> gathered;
  for (;;) {
    std::vector<Segment> pass;
    std::vector<int> rows;
    std::vector<float*> targets;
    int first = 0;  // row of the pass
    for (size_t i = 0; i < segments.size(); ++i) {
      const Segment& s = segments[i];
      const size_t left = s.tokens.size() - done[i];
      if (left == 0) continue;
      const int n = longest_pass(*s.cache, static_cast<int>(left));
      const auto first_wanted = static_cast<int64_t>(s.tokens.size()) - wanted_rows(s);
      for (int r = 0; r < n; ++r, ++done[i]) {
        const int64_t at = static_cast<int64_t>(done[i]) - first_wanted;
        if (at < 0) continue;
        rows.push_back(first + r);
        targets.push_back(logits[i] + at * vocab);
      }
      pass.push_back({s.cache, s.tokens.subspan(done[i] - n, n), LogitRows::kNone});
      first += n;
    }
    if (pass.empty()) return;
    run_layers(pass, nullptr);
    gathered.resize(rows.size() * static_cast<size_t>(vocab));
    logits_of(rows, gathered.data());
    for (size_t r = 0; r < rows.size(); ++r)
      std::copy_n(gathered.data() + static_cast<int64_t>(r) * vocab, vocab, targets[r]);
  }
}

void Session::step(std::span<KvCache* const> caches, std::span<const int32_t> tokens,
                   float* logits) {
  KV_CHECK(caches.size() == tokens.size(), "{} caches, {} tokens", caches.size(), tokens.size());
  std::vector<Segment> segments;
  for (size_t i = 0; i < caches.size(); ++i)
    segments.push_back({caches[i], tokens.subspan(i, 1), LogitRows::kLast});
  forward(segments, logits);
}

void Session::feed(KvCache& cache, std::span<const int32_t> ids,
                   const std::function<void(int, int, const float*)>& on_logits) {
  check_ids(ids);
  const int n = static_cast<int>(ids.size());
  for (int done = 0, count = 0; done < n; done += count) {
    count = next_chunk(cache, n - done);
    const Segment segment{&cache, ids.subspan(done, count), LogitRows::kNone};
    run_layers({&segment, 1}, nullptr);
    if (on_logits) stream_logits(done, count, on_logits);
  }
}

}  // namespace kv
