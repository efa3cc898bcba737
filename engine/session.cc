#include "engine/session.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/scratch.h"

namespace kv {
namespace {

constexpr int kDefaultChunk =
    512;  // rows in one pass: enough to reuse weights, small enough for the caches
constexpr int kLogitRows = 64;   // rows of logits held at once while streaming
constexpr int kRopeStep = 2048;  // positions by which the RoPE table grows

}  // namespace

Session::Session(std::shared_ptr<const Model> model, int prefill_chunk)
    : model_(std::move(model)),
      prefill_chunk_(prefill_chunk > 0 ? prefill_chunk : kDefaultChunk),
      rope_(std::make_shared<RopeTable>(model_->config, kRopeStep)),
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
    needed = std::max(needed, s.cache->n_tokens() + static_cast<int>(s.tokens.size()));
  }
  if (needed <= rope_->n_positions()) return;
  rope_ = std::make_shared<RopeTable>(model_->config, std::max(needed, 2 * rope_->n_positions()));
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

PrefilledPrompt Session::prefill(std::span<const int32_t> ids, const PrefillOptions& options) {
  KV_CHECK(!ids.empty());
  check_ids(ids);
  const int n = static_cast<int>(ids.size());
  const ModelConfig& config = model_->config;
  PrefilledPrompt prompt{KvCache(config, options.codec),  {}, {}, {}, nullptr,
                         std::vector<float>(config.vocab)};
  prompt.window.n_window = std::min(options.needs.window_queries, n);
  prompt.window.queries.resize(static_cast<size_t>(config.n_layers) * config.n_heads *
                               prompt.window.n_window * config.head_dim);
  std::vector<QueryMoments> moments;
  for (const int first : options.needs.query_statistics) moments.emplace_back(config, first);
  std::vector<float> softmax_max, softmax_sum;
  if (options.needs.attention_received) {
    const size_t heads = static_cast<size_t>(config.n_heads);
    prompt.attention_received.assign(config.n_layers * heads * n, 0.0);
    softmax_max.resize(heads * std::min(n, prefill_chunk_));
    softmax_sum.resize(softmax_max.size());
  }
  const PromptRecorder recorder{&prompt.window,
                                n - prompt.window.n_window,
                                &moments,
                                &prompt.attention_received,
                                n,
                                &softmax_max,
                                &softmax_sum};
  for (int done = 0; done < n; done += prefill_chunk_) {
    const int count = std::min(prefill_chunk_, n - done);
    const Segment segment{&prompt.cache, ids.subspan(done, count), LogitRows::kNone};
    run_layers({&segment, 1}, &recorder);
    if (options.on_logits) stream_logits(done, count, options.on_logits);
    if (done + count == n) {
      const int last = count - 1;
      logits_of({&last, 1}, prompt.last_logits.data());
    }
  }
  for (QueryMoments& m : moments) prompt.query_statistics.push_back(m.finish());
  prompt.rope = rope_;
  return prompt;
}

void Session::forward(std::span<const Segment> segments, float* logits) {
  std::vector<int> rows;
  int first = 0;
  for (const Segment& s : segments) {
    check_ids(s.tokens);
    const int n = static_cast<int>(s.tokens.size());
    const int wanted = s.logits == LogitRows::kAll    ? n
                       : s.logits == LogitRows::kLast ? std::min(n, 1)
                                                      : 0;
    for (int i = n - wanted; i < n; ++i) rows.push_back(first + i);
    first += n;
  }
  if (first == 0) return;
  run_layers(segments, nullptr);
  logits_of(rows, logits);
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
  for (int done = 0; done < n; done += prefill_chunk_) {
    const int count = std::min(prefill_chunk_, n - done);
    const Segment segment{&cache, ids.subspan(done, count), LogitRows::kNone};
    run_layers({&segment, 1}, nullptr);
    if (on_logits) stream_logits(done, count, on_logits);
  }
}

}  // namespace kv
