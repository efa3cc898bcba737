// Answers questions from compressed caches: scores suffixes, generates greedily in batches.
//
// Nothing here depends on which other jobs are in the batch: every job's rows, hash and answer are
// its own.
#pragma once

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
  // (vocab) of the context's last token, where this job's is not the one that all jobs share.
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

// kGenerate jobs of one context, each greedy until end of text, a stop string or the token limit.
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
