#include <algorithm>

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

// Feeds n_fed tokens and takes the cost of all n_scored >= n_fed tokens of the block: the last
// token of a suffix is scored but never fed, as nothing comes after it.
void take_block(Session& session, std::span<const int32_t> block, size_t n_fed, Progress& p,
                AnswerJob& job) {
  const int vocab = session.model().config.vocab;
  p.rows.clear();
  if (n_fed > 0) {
    session.feed(p.cache, block.first(n_fed), [&](int, int n, const float* rows) {
      p.rows.insert(p.rows.end(), rows, rows + static_cast<int64_t>(n) * vocab);
    });
  }
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

void keep_last_row(Progress& p, int vocab) {
  if (!p.rows.empty()) p.before.assign(p.rows.end() - vocab, p.rows.end());
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

}  // namespace

void score_jobs(Session& session, const std::vector<float>& last_logits,
                std::span<AnswerJob* const> jobs) {
  const int vocab = session.model().config.vocab;
  KV_CHECK(!jobs.empty());
  const std::vector<int32_t>& ids = jobs[0]->sample->continuation_ids;
  const bool compared = jobs[0]->is_full;
  std::vector<Progress> progress;
  for (const AnswerJob* job : jobs) {
    KV_CHECK(job->sample == jobs[0]->sample);
    const std::vector<float>& last = job->last_logits ? *job->last_logits : last_logits;
    progress.push_back({job->cache->fork(), last, {}, LogitsHash(), 0, 0});
    progress.back().hash.add(last.data(), vocab);
  }
  const size_t block_size = block_of(jobs);
  for (size_t begin = 0; begin < ids.size(); begin += block_size) {
    const auto block = std::span(ids).subspan(begin, std::min(block_size, ids.size() - begin));
    const bool is_last = begin + block.size() == ids.size();
    for (size_t j = 0; j < jobs.size(); ++j) {
      take_block(session, block, block.size() - (is_last ? 1 : 0), progress[j], *jobs[j]);
      if (!compared) {
        keep_last_row(progress[j], vocab);
      } else if (jobs[j]->is_full) {
        progress[j].n_agree += static_cast<int64_t>(block.size());
      } else {
        compare_block(progress[0], progress[j], block.size(), vocab);
        keep_last_row(progress[j], vocab);
      }
    }
    if (compared)
      keep_last_row(progress[0], vocab);  // only now: the others still compared with its rows
  }
  for (size_t j = 0; j < jobs.size(); ++j) finish(progress[j], ids.size(), compared, *jobs[j]);
}

}  // namespace kv
