#include <algorithm>
#include <utility>

#include "engine/error.h"
#include "kernels/parallel.h"
#include "runner/answer.h"
#include "runner/logits.h"

namespace kv {
namespace {

// Suffix tokens that all cells of a sample take before the next ones: long enough for the matrix
// kernels, short enough that the full cache's rows of logits can be kept for comparison.
constexpr size_t kBlock = 128;

// What one job carries from block to block. `before` is the row that predicts the block's first
// token.
struct Progress {
  KvCache cache;
  std::vector<float> before;  // (vocab)
  std::vector<float> rows;    // (block, vocab)
  LogitsHash hash;
  double kld_sum = 0;
  int64_t n_agree = 0;

  // The row that predicts token i of the block.
  const float* predicting(size_t i, int vocab) const {
    return i == 0 ? before.data() : rows.data() + (i - 1) * static_cast<size_t>(vocab);
  }
};

// Feeds n_fed tokens to every job of a block; rows (n_fed, vocab) of each. Caches that see one token a
// pass go side by side, so that a pass serves all of them.
void feed_block(Session& session, std::span<const int32_t> tokens,
                std::span<Progress* const> progress) {
  if (tokens.empty()) {
    for (Progress* p : progress) p->rows.clear();
    return;
  }
  const size_t row = static_cast<size_t>(session.model().config.vocab);
  std::vector<Segment> stepwise;
  std::vector<Progress*> steppers;
  for (Progress* p : progress) {
    p->rows.clear();
    if (p->cache.single_tokens()) {
      stepwise.push_back({&p->cache, tokens, LogitRows::kAll});
      steppers.push_back(p);
      continue;
    }
    session.feed(p->cache, tokens, [&](int, int n, const float* rows) {
      p->rows.insert(p->rows.end(), rows, rows + static_cast<size_t>(n) * row);
    });
  }
  if (stepwise.empty()) return;
  std::vector<float> logits(stepwise.size() * tokens.size() * row);
  session.forward(stepwise, logits.data());
  for (size_t i = 0; i < steppers.size(); ++i) {
    const float* first = logits.data() + i * tokens.size() * row;
    steppers[i]->rows.assign(first, first + tokens.size() * row);
  }
}

// Takes the cost of the block's tokens; the last token of a suffix is scored but was not fed, as
// nothing comes after it.
void take_block(int vocab, std::span<const int32_t> block, Progress& p, AnswerJob& job) {
  p.hash.add(p.rows.data(), static_cast<int64_t>(p.rows.size()));
  std::vector<double> nll(block.size());
  parallel_for(static_cast<int64_t>(block.size()), [&](int64_t i) {
    nll[i] = negative_log_likelihood(p.predicting(static_cast<size_t>(i), vocab), vocab, block[i]);
  });
  for (const double value : nll) job.answer.nll.push_back(static_cast<float>(value));
}

void compare_block(const Progress& full, Progress& p, size_t n, int vocab) {
  std::vector<double> kld(n);
  std::vector<char> agree(n);
  parallel_for(static_cast<int64_t>(n), [&](int64_t i) {
    const float* full_row = full.predicting(static_cast<size_t>(i), vocab);
    const float* row = p.predicting(static_cast<size_t>(i), vocab);
    kld[i] = kl_divergence(full_row, row, vocab);
    agree[i] = greedy_token(full_row, vocab) == greedy_token(row, vocab) ? 1 : 0;
  });
  for (size_t i = 0; i < n; ++i) {
    p.kld_sum += kld[i];
    p.n_agree += agree[i];
  }
}

// All that the next block needs of this one's rows.
void keep_last_row(Progress& p, int vocab) {
  if (!p.rows.empty()) p.before.assign(p.rows.end() - vocab, p.rows.end());
  p.rows = {};
}

void finish(Progress& p, size_t n_tokens, bool compared, AnswerJob& job) {
  job.logits_hash = p.hash.hex();
  job.kv_bytes_end = static_cast<int64_t>(p.cache.bytes_in_use());
  job.answer.stop_reason = "scored";
  job.finished = true;
  if (!compared) return;
  // Rounding can leave a divergence of equal rows a hair below zero.
  job.against_full["kld"] = std::max(0.0, p.kld_sum / static_cast<double>(n_tokens));
  job.against_full["top1_agreement"] =
      static_cast<double>(p.n_agree) / static_cast<double>(n_tokens);
}

// A suffix is one block of the codecs that code blocks.
size_t block_of(std::span<AnswerJob* const> jobs) {
  const bool whole = std::any_of(jobs.begin(), jobs.end(), [](const AnswerJob* job) {
    return job->cache->codec().codes_blocks();
  });
  return whole ? jobs[0]->sample->continuation_ids.size() : kBlock;
}

// Jobs that are fed together: those that see one token a pass in groups, so that a pass
// serves many; every other one alone, which holds the fewest rows of logits. The first job comes
// first.
std::vector<std::vector<size_t>> groups_of(std::span<AnswerJob* const> jobs) {
  constexpr size_t kTogether = 8;
  std::vector<std::vector<size_t>> groups;
  std::vector<size_t> stepwise;
  for (size_t j = 0; j < jobs.size(); ++j) {
    if (!jobs[j]->cache->single_tokens()) {
      groups.push_back({j});
      continue;
    }
    stepwise.push_back(j);
    if (stepwise.size() == kTogether) groups.push_back(std::exchange(stepwise, {}));
  }
  if (!stepwise.empty()) groups.push_back(std::move(stepwise));
  return groups;
}

class Scorer {
 public:
  Scorer(Session& session, const std::vector<float>& last_logits, std::span<AnswerJob* const> jobs)
      : session_(session),
        jobs_(jobs),
        vocab_(session.model().config.vocab),
        compared_(jobs[0]->is_full) {
    for (const AnswerJob* job : jobs) {
      KV_CHECK(job->sample == jobs[0]->sample);
      const std::vector<float>& last = job->last_logits ? *job->last_logits : last_logits;
      progress_.push_back({job->cache->fork(), last, {}, LogitsHash(), 0, 0});
      progress_.back().hash.add(last.data(), vocab_);
    }
  }

  bool run(const std::function<bool()>& stop) {
    const std::vector<int32_t>& ids = jobs_[0]->sample->continuation_ids;
    const size_t block_size = block_of(jobs_);
    const auto groups = groups_of(jobs_);
    for (size_t begin = 0; begin < ids.size(); begin += block_size) {
      const auto block = std::span(ids).subspan(begin, std::min(block_size, ids.size() - begin));
      // The last token of the suffix is scored but never fed, as nothing comes after it.
      const size_t n_fed = block.size() - (begin + block.size() == ids.size() ? 1 : 0);
      for (const std::vector<size_t>& group : groups) {
        if (stop && stop()) return false;
        score_group(block, n_fed, group);
      }
      // Only now: the others still compared with its rows.
      keep_last_row(progress_[0], vocab_);
    }
    for (size_t j = 0; j < jobs_.size(); ++j)
      finish(progress_[j], ids.size(), compared_, *jobs_[j]);
    return true;
  }

 private:
  void score_group(std::span<const int32_t> block, size_t n_fed, const std::vector<size_t>& group) {
    std::vector<Progress*> members;
    for (const size_t j : group) members.push_back(&progress_[j]);
    feed_block(session_, block.first(n_fed), members);
    for (const size_t j : group) {
      Progress& p = progress_[j];
      take_block(vocab_, block, p, *jobs_[j]);
      if (compared_ && j == 0) p.n_agree += static_cast<int64_t>(block.size());
      if (compared_ && j != 0) compare_block(progress_[0], p, block.size(), vocab_);
      if (j != 0) keep_last_row(p, vocab_);
    }
  }

  Session& session_;
  std::span<AnswerJob* const> jobs_;
  int vocab_;
  bool compared_;
  std::vector<Progress> progress_;
};

}  // namespace

bool score_jobs(Session& session, const std::vector<float>& last_logits,
                std::span<AnswerJob* const> jobs, const std::function<bool()>& stop) {
  KV_CHECK(!jobs.empty());
  return Scorer(session, last_logits, jobs).run(stop);
}

}  // namespace kv
