// Teacher forcing along the full cache's answer.

#include <algorithm>

#include "engine/error.h"
#include "kernels/parallel.h"
#include "runner/answer.h"
#include "runner/logits.h"

namespace kv {
namespace {

struct Sums {
  double kld = 0;
  int64_t n_agree = 0;
};

// Sequences that take the same tokens side by side; the first is the full cache. One token at a
// time, as when answering, since some methods count steps.
class Along {
 public:
  Along(Session& session, const KvCache& full, std::span<AnswerJob* const> jobs)
      : session_(session), vocab_(session.model().config.vocab), sums_(jobs.size()) {
    caches_.push_back(full.fork());
    for (const AnswerJob* job : jobs) caches_.push_back(job->cache->fork());
  }

  const std::vector<Sums>& sums() const { return sums_; }

  // The rows that predict the answer's first token.
  void ask(const std::vector<int32_t>& question, const std::vector<float>& full_last_logits,
           const std::vector<float>& last_logits) {
    rows_.resize(caches_.size() * static_cast<size_t>(vocab_));
    if (question.empty()) {
      for (size_t i = 0; i < caches_.size(); ++i) {
        const std::vector<float>& last = i == 0 ? full_last_logits : last_logits;
        std::copy(last.begin(), last.end(), rows_.begin() + row_offset(i));
      }
      return;
    }
    std::vector<Segment> segments;
    for (KvCache& cache : caches_) segments.push_back({&cache, question, LogitRows::kLast});
    session_.forward(segments, rows_.data());
  }

  void feed(int32_t token) {
    std::vector<KvCache*> caches;
    for (KvCache& cache : caches_) caches.push_back(&cache);
    session_.step(caches, std::vector<int32_t>(caches.size(), token), rows_.data());
  }

  void compare() {
    const float* full = rows_.data();
    const int32_t top = greedy_token(full, vocab_);
    parallel_for(static_cast<int64_t>(sums_.size()), [&](int64_t i) {
      const float* row = rows_.data() + row_offset(static_cast<size_t>(i) + 1);
      sums_[i].kld += kl_divergence(full, row, vocab_);
      sums_[i].n_agree += greedy_token(row, vocab_) == top ? 1 : 0;
    });
  }

 private:
  int64_t row_offset(size_t sequence) const { return static_cast<int64_t>(sequence) * vocab_; }

  Session& session_;
  int vocab_;
  std::vector<KvCache> caches_;
  std::vector<Sums> sums_;   // of the caches after the first
  std::vector<float> rows_;  // (caches, vocab), each predicts the next token
};

void take_result(const Sums& sums, size_t n_tokens, AnswerJob& job) {
  const double n = static_cast<double>(n_tokens);
  // Rounding can leave a divergence of equal rows a hair below zero.
  job.against_full["kld"] = std::max(0.0, sums.kld / n);
  job.against_full["top1_agreement"] = static_cast<double>(sums.n_agree) / n;
}

}  // namespace

bool compare_jobs(Session& session, const std::vector<float>& last_logits,
                  const PrefilledPrompt& full, const std::vector<int32_t>& full_ids,
                  std::span<AnswerJob* const> jobs, const AnswerOptions& options) {
  if (full_ids.empty()) return true;
  std::vector<AnswerJob*> others;
  for (AnswerJob* job : jobs) {
    KV_CHECK(job->sample == jobs[0]->sample);
    if (job->is_full) {
      take_result({0, static_cast<int64_t>(full_ids.size())}, full_ids.size(), *job);
    } else {
      others.push_back(job);
    }
  }
  const size_t together = static_cast<size_t>(std::max(2, options.batch) - 1);  // beside the full
  for (size_t begin = 0; begin < others.size(); begin += together) {
    const auto group = std::span(others).subspan(begin, std::min(together, others.size() - begin));
    Along along(session, full.cache, group);
    along.ask(group[0]->sample->continuation_ids, full.last_logits, last_logits);
    for (size_t i = 0; i < full_ids.size(); ++i) {
      if (options.stop && options.stop()) return false;
      if (i > 0) along.feed(full_ids[i - 1]);
      along.compare();
    }
    for (size_t j = 0; j < group.size(); ++j)
      take_result(along.sums()[j], full_ids.size(), *group[j]);
  }
  return true;
}

}  // namespace kv
