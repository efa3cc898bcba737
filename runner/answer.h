// Answers questions from compressed caches: scores suffixes, generates greedily in batches.
//
// Nothing here depends on which other jobs are in the batch: every job's rows, hash and answer are
// its own.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/session.h"
#include "tasks/task.h"

namespace kv {

// One sample to be answered from one cell's compressed cache.
struct AnswerJob {
  const Sample* sample = nullptr;
  const KvCache* cache = nullptr;  // compressed; forked, never changed
  bool is_full = false;            // the cache is the full one that others are compared with
  // (vocab) of the context's last token; null: the one that is given for all jobs.
  const std::vector<float>* last_logits = nullptr;
  // Results.
  bool finished = false;  // false where the work was stopped before the end
  Answer answer;
  std::string logits_hash;   // over the context's last row and every later row, in order
  int64_t kv_bytes_end = 0;  // in use when the answer was complete
  Scores against_full;       // "kld", "top1_agreement" (score_jobs, compare_jobs)
  double first_token_ms =
      0;  // from the start of answering to the first token; of use for a job alone
};

struct AnswerOptions {
  int max_new_tokens = 128;    // where the sample does not say
  int batch = 1;               // sequences decoded together
  std::function<bool()> stop;  // asked between steps; true: leave the rest unfinished
};

// All jobs have the same kScore sample. last_logits (vocab): of the context's last token. The first
// job should be the full cache: the others are then compared with it row by row. False where stop
// (asked between pieces of work; may be empty) ended it: no job is then finished.
bool score_jobs(Session& session, const std::vector<float>& last_logits,
                std::span<AnswerJob* const> jobs, const std::function<bool()>& stop = {});

// Bytes of logits that score_jobs holds at once for a suffix of n_tokens. whole_blocks: a codec
// takes the suffix as one block.
int64_t score_logits_bytes(size_t n_tokens, bool whole_blocks, int vocab);

// Answers kGenerate jobs greedily, each until end of text, a stop string or the token limit. All
// jobs in flight, whatever their contexts, take one token in a pass; a finished one makes room for
// the next that waits.
class Generator {
 public:
  Generator(Session& session, AnswerOptions options);
  ~Generator();

  // The job waits for room; it and what it points at, last_logits included, stay until it is
  // finished or dropped.
  void add(AnswerJob* job);
  bool idle() const;            // nothing waits, nothing is in flight
  size_t n_unfinished() const;  // waiting or in flight
  // Takes in what there is room for and gives every sequence one token. The jobs that this
  // finished.
  std::vector<AnswerJob*> step();
  // Forgets every unfinished job; also after step() threw.
  void drop();

 private:
  struct Sequence;
  void admit();
  std::vector<int32_t> end_tokens(const Sample& sample) const;
  bool take(Sequence& sequence, const float* row);
  bool end_part(Sequence& sequence, const char* reason, size_t cut);
  bool finish(Sequence& sequence, const char* reason);
  std::string part_text(const Sequence& sequence) const;
  std::string decode(const std::vector<int32_t>& ids) const;

  Session& session_;
  AnswerOptions options_;
  int vocab_;
  std::deque<AnswerJob*> waiting_;
  std::vector<Sequence> active_;
  std::vector<AnswerJob*> finished_;  // in the step at hand
  std::vector<float> rows_;           // (active, vocab)
};

// The same for jobs of one context, to their end or until options.stop.
void generate_jobs(Session& session, const std::vector<float>& last_logits,
                   std::span<AnswerJob* const> jobs, const AnswerOptions& options);

// Adds to against_full of kGenerate jobs of one sample: their caches are fed the full cache's
// answer, full_ids, and the row before each of its tokens is compared with the full cache's own;
// "kld" is KL(full || job) in nats and "top1_agreement" the share of equal most likely tokens, both
// means over the answer's tokens. Nothing is added where the answer has none. Answers and hashes
// stay as they are. last_logits: as the jobs' caches had them; full: the jobs' context in the full
// cache, never changed. False where
// options.stop ended it before all jobs had their result.
bool compare_jobs(Session& session, const std::vector<float>& last_logits,
                  const PrefilledPrompt& full, const std::vector<int32_t>& full_ids,
                  std::span<AnswerJob* const> jobs, const AnswerOptions& options);

}  // namespace kv
