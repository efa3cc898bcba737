// Teacher forcing along a given text, for all cells of a context together.
#include <algorithm>
#include <utility>

#include "engine/error.h"
#include "kernels/parallel.h"
#include "runner/answer.h"
#include "runner/logits.h"

namespace kv {
namespace {

// Suffix tokens that all cells take before the next ones: short enough that the full cache's rows
// of logits can be kept for comparison.
constexpr size_t kBlock = 128;
// Rows of a pass: several cells take their block together, so that weights are read once for all.
constexpr size_t kPassRows = 512;

// What one job carries from block to block.
struct Progress {
  KvCache cache;
  LogitsHash hash;
  double kld_sum = 0;
  int64_t n_agree = 0;
};

// The full cache's rows that predict the tokens of a block.
struct Reference {
  std::vector<float> rows;  // (block, vocab)
  std::vector<RowFigures> figures;
};

// A suffix is one block of the codecs that code blocks.
size_t block_of(std::span<AnswerJob* const> jobs) {
  const bool whole = std::any_of(jobs.begin(), jobs.end(), [](const AnswerJob* job) {
    return job->cache->codec().codes_blocks();
  });
  return whole ? jobs[0]->sample->continuation_ids.size() : kBlock;
}

class Scorer {
 public:
  Scorer(Session& session, const std::vector<float>& last_logits, std::span<AnswerJob* const> jobs)
      : session_(session),
        jobs_(jobs),
        ids_(jobs[0]->sample->continuation_ids),
        vocab_(session.model().config.vocab),
        compared_(jobs[0]->is_full) {
    for (AnswerJob* job : jobs) {
      KV_CHECK(job->sample == jobs[0]->sample);
      job->answer.nll.clear();
      progress_.push_back({job->cache->fork(), LogitsHash(), 0, 0});
    }
    // The context's last row predicts the first token.
    if (compared_) reserve_reference(1);
    for (size_t j = 0; j < jobs.size(); ++j) {
      const std::vector<float>& last = jobs[j]->last_logits ? *jobs[j]->last_logits : last_logits;
      take(j, 0, 0, 1, last.data());
    }
  }

  bool run(const std::function<bool()>& stop) {
    const size_t n_fed = ids_.size() - 1;  // nothing comes after the last token
    const size_t block = std::max<size_t>(1, block_of(jobs_));
    for (size_t begin = 0; begin < n_fed; begin += block) {
      const size_t n = std::min(block, n_fed - begin);
      if (compared_) reserve_reference(n);
      // The full cache first: the others are compared with its rows.
      const size_t together = std::max<size_t>(1, kPassRows / n);
      for (size_t j = 0; j < jobs_.size();) {
        if (stop && stop()) return false;
        const size_t end = j == 0 ? 1 : std::min(j + together, jobs_.size());
        feed(j, end, begin, n);
        j = end;
      }
    }
    for (size_t j = 0; j < jobs_.size(); ++j) finish(progress_[j], *jobs_[j]);
    return true;
  }

 private:
  void reserve_reference(size_t n) {
    reference_.rows.resize(n * static_cast<size_t>(vocab_));
    reference_.figures.resize(n);
  }

  // Tokens begin .. begin + n - 1 of the suffix to the jobs from `first` to before `end`.
  void feed(size_t first, size_t end, size_t begin, size_t n) {
    std::vector<Segment> segments;
    for (size_t j = first; j < end; ++j) {
      segments.push_back({&progress_[j].cache, std::span(ids_).subspan(begin, n), LogitRows::kAll});
    }
    session_.feed_together(segments, [&](size_t s, int row, int n_rows, const float* rows) {
      take(first + s, static_cast<size_t>(row), begin + static_cast<size_t>(row) + 1,
           static_cast<size_t>(n_rows), rows);
    });
  }

  // n rows of job j, which predict the tokens from `token` on; `at`: the place of the first in the
  // block.
  void take(size_t j, size_t at, size_t token, size_t n, const float* rows) {
    Progress& p = progress_[j];
    std::vector<double> nll(n), kld(n, 0.0);
    std::vector<char> agree(n, 1);
    parallel_for(static_cast<int64_t>(n) + 1, [&](int64_t i) {
      if (i == 0) {  // the hash is one chain; the other threads take the rows meanwhile
        p.hash.add(rows, static_cast<int64_t>(n) * vocab_);
        return;
      }
      const size_t r = static_cast<size_t>(i - 1);
      const float* row = rows + r * static_cast<size_t>(vocab_);
      const RowFigures figures = row_figures(row, vocab_);
      nll[r] = figures.norm - static_cast<double>(row[ids_[token + r]]);
      if (!compared_) return;
      float* full = reference_.rows.data() + (at + r) * static_cast<size_t>(vocab_);
      RowFigures& full_figures = reference_.figures[at + r];
      if (j == 0) {
        std::copy_n(row, vocab_, full);
        full_figures = figures;
      } else {
        kld[r] = kl_divergence(full, full_figures.norm, row, figures.norm, vocab_);
        agree[r] = full_figures.top == figures.top ? 1 : 0;
      }
    });
    for (size_t r = 0; r < n; ++r) {
      jobs_[j]->answer.nll.push_back(static_cast<float>(nll[r]));
      p.kld_sum += kld[r];
      p.n_agree += agree[r];
    }
  }

  void finish(const Progress& p, AnswerJob& job) const {
    job.logits_hash = p.hash.hex();
    job.kv_bytes_end = static_cast<int64_t>(p.cache.bytes_in_use());
    job.answer.stop_reason = "scored";
    job.finished = true;
    if (!compared_) return;
    const double n = static_cast<double>(ids_.size());
    // Rounding can leave a divergence of equal rows a hair below zero.
    job.against_full["kld"] = std::max(0.0, p.kld_sum / n);
    job.against_full["top1_agreement"] = static_cast<double>(p.n_agree) / n;
  }

  Session& session_;
  std::span<AnswerJob* const> jobs_;
  const std::vector<int32_t>& ids_;
  int vocab_;
  bool compared_;
  std::vector<Progress> progress_;
  Reference reference_;
};

}  // namespace

bool score_jobs(Session& session, const std::vector<float>& last_logits,
                std::span<AnswerJob* const> jobs, const std::function<bool()>& stop) {
  KV_CHECK(!jobs.empty());
  return Scorer(session, last_logits, jobs).run(stop);
}

int64_t score_logits_bytes(size_t n_tokens, bool whole_blocks, int vocab) {
  const size_t kept = whole_blocks ? n_tokens : std::min(n_tokens, kBlock);
  return static_cast<int64_t>(kept + kBlock) * vocab * static_cast<int64_t>(sizeof(float));
}

}  // namespace kv
