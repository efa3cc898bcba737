#include "engine/cut_state.h"

#include <algorithm>
#include <span>
#include <utility>

#include "engine/error.h"
#include "engine/rope.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"

namespace kv {

CutState::CutState(const ModelConfig& config, std::shared_ptr<const RepeatedCut> rule,
                   Positions positions)
    : rule_(std::move(rule)),
      positions_(positions),
      n_layers_(config.n_layers),
      n_heads_(config.n_heads),
      head_dim_(config.head_dim) {
  constexpr int kEndless = 1 << 30;
  const KvNeeds needs = rule_->policy->needs(kEndless);
  KV_CHECK(!needs.attention_received && needs.repeats.empty(), "{} cannot cut again and again",
           rule_->policy->spec());
  for (const QueryStatisticsNeeds& wanted : needs.query_statistics)
    moments_.emplace_back(config, wanted);
  ring_.n_window = needs.window_queries;
  ring_.queries.resize(static_cast<size_t>(n_layers_) * n_heads_ * ring_.n_window * head_dim_);
}

CutState::CutState(const ModelConfig& config, std::shared_ptr<const RepeatedCut> rule,
                   Positions positions, const RecordedInputs& seen, int n_tokens)
    : CutState(config, std::move(rule), positions) {
  for (QueryMoments& mine : moments_) {
    const int first = mine.needs().first_token;
    const auto same =
        std::find_if(seen.query_moments.begin(), seen.query_moments.end(),
                     [&](const QueryMoments& m) { return m.needs().first_token == first; });
    KV_CHECK(same != seen.query_moments.end(), "no sums from token {}", first);
    const bool covariance = mine.needs().covariance;
    KV_CHECK(same->needs().covariance || !covariance, "no products from token {}", first);
    mine = *same;
    if (!covariance) mine.drop_covariance();
  }
  const int64_t n_heads = int64_t{n_layers_} * n_heads_, recorded = seen.window.n_window;
  n_recorded_ = static_cast<int>(std::min<int64_t>(ring_.n_window, recorded));
  for (int64_t h = 0; h < n_heads; ++h) {
    for (int i = 1; i <= n_recorded_; ++i) {
      const float* from = seen.window.queries.data() + (h * recorded + recorded - i) * head_dim_;
      const int64_t slot = h * ring_.n_window + (n_tokens - i) % ring_.n_window;
      std::copy_n(from, head_dim_, ring_.queries.data() + slot * head_dim_);
    }
  }
}

void CutState::record(int layer, int first_token, int n, const float* queries, int64_t stride,
                      const RopeTable& rope) {
  for (QueryMoments& m : moments_) m.add(layer, first_token, n, queries, stride);
  const int window = ring_.n_window;
  if (window == 0) return;
  parallel_for(n_heads_, [&](int64_t h) {
    float* head =
        ring_.queries.data() + (int64_t{layer} * n_heads_ + h) * window * int64_t{head_dim_};
    for (int i = std::max(0, n - window); i < n; ++i) {
      const int token = first_token + i;
      float* slot = head + int64_t{token % window} * head_dim_;
      std::copy_n(queries + i * stride + h * head_dim_, head_dim_, slot);
      kernels().rotate_row(slot, rope.cos_row(token), rope.sin_row(token), rope.rotary_dim());
    }
  });
}

bool CutState::count(int n_tokens) {
  KV_CHECK(n_tokens <= tokens_left(), "{} tokens, {} until the cut", n_tokens, tokens_left());
  n_recorded_ = std::min(ring_.n_window, n_recorded_ + n_tokens);
  n_since_ += n_tokens;
  if (n_since_ < rule_->every) return false;
  n_since_ = 0;
  return true;
}

RecordedInputs CutState::inputs(int n_tokens) const {
  RecordedInputs result;
  for (const QueryMoments& m : moments_) result.query_statistics.push_back(m.statistics());
  const int n = result.window.n_window = n_recorded_;
  if (n == 0) return result;
  const int64_t n_heads = int64_t{n_layers_} * n_heads_;
  result.window.queries.resize(static_cast<size_t>(n_heads * n) * head_dim_);
  for (int64_t h = 0; h < n_heads; ++h) {
    for (int i = 0; i < n; ++i) {
      const int64_t slot = h * ring_.n_window + (n_tokens - n + i) % ring_.n_window;
      std::copy_n(ring_.queries.data() + slot * head_dim_, head_dim_,
                  result.window.queries.data() + (h * n + i) * head_dim_);
    }
  }
  return result;
}

CutState::Memory CutState::memory() const {
  Memory memory{n_since_, n_recorded_, ring_.queries, {}};
  for (const QueryMoments& m : moments_) m.append_to(memory.moments);
  return memory;
}

bool CutState::remember(const Memory& memory) {
  if (memory.n_since < 0 || memory.n_since >= rule_->every) return false;
  if (memory.n_recorded < 0 || memory.n_recorded > ring_.n_window) return false;
  if (memory.queries.size() != ring_.queries.size()) return false;
  std::span<const double> left(memory.moments);
  for (QueryMoments& m : moments_) {
    if (!m.take_from(left)) return false;
  }
  if (!left.empty()) return false;
  n_since_ = memory.n_since;
  n_recorded_ = memory.n_recorded;
  ring_.queries = memory.queries;
  return true;
}

size_t CutState::bytes() const {
  size_t total = ring_.queries.size() * sizeof(float);
  for (const QueryMoments& m : moments_) total += m.bytes();
  return total;
}

}  // namespace kv
