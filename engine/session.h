// Running a model: prefill, compress, fork, decode many sequences together, score.
//
//   Session session(model);
//   PrefilledPrompt prompt = session.prefill(ids, {.codec = f16, .needs = needs_of(plans, n)});
//   CompressedCache cell = compress(model, prompt, plan);   // engine/compression.h; prompt stays
//   session.step(caches, tokens, logits);                   // one token for each of many sequences
//
// Every result is the same bits for any number of threads, chunk, batch composition and instruction
// set.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/kv_policy.h"
#include "engine/model.h"
#include "engine/query_statistics.h"
#include "engine/recorded_inputs.h"
#include "engine/rope.h"

namespace kv {

// Which rows of a segment need logits.
enum class LogitRows { kNone, kLast, kAll };

// Consecutive tokens of one sequence in a forward pass.
struct Segment {
  KvCache* cache = nullptr;
  std::span<const int32_t> tokens;
  LogitRows logits = LogitRows::kNone;
};

// A prefill as it stood after its first cache.n_tokens() tokens. A prompt that begins with the same
// tokens can go on from there and ends with the same bits as one prefilled alone.
struct PromptPrefix {
  KvNeeds needs;  // what was recorded; a prompt that asks for something else cannot go on from here
  KvCache cache;
  std::vector<QueryMoments> moments;
  std::vector<double> attention_received;  // (n_layers, n_heads, n_tokens), or empty
};

struct PrefilledPrompt : RecordedInputs {
  explicit PrefilledPrompt(KvCache rows) : cache(std::move(rows)) {}

  KvCache cache;  // every prompt row, exact
  std::shared_ptr<const LayerRopes> rope;
  std::vector<float> last_logits;              // (vocab) of the last prompt token
  std::shared_ptr<const PromptPrefix> prefix;  // null unless options.save_at asked for one
};

struct PrefillOptions {
  CodecPtr codec;  // how prompt rows are stored (kv_dtype)
  KvNeeds needs;   // the union over all policies that will be applied
  // Called with (index of the first row, n rows, logits (n, vocab)) in order for every prompt token
  // where set.
  std::function<void(int, int, const float*)> on_logits;
  // Where set: begins with the prompt's own first tokens; only the others are computed. See
  // can_go_on().
  const PromptPrefix* from = nullptr;
  // Where set: rows are cut back while the prompt comes and once more at its end; what is kept stands
  // at these positions.
  std::shared_ptr<const RepeatedCut> cut = nullptr;
  Positions positions = Positions::kOriginal;
  // Tokens after which a prefix is saved, in (tokens of `from`, tokens of the prompt]; 0: none is.
  int save_at = 0;
  StepPtr step = nullptr;  // where set: the prompt itself follows these rules, and needs are empty
  // Asked with the tokens done so far after each pass but the last where set; false ends the prefill
  // early: its cache is then shorter than the prompt and of no use.
  std::function<bool(int)> go_on = {};
};

// Whether a prompt of n_tokens with these needs can be prefilled from a prefix of n_prefix tokens:
// what is recorded of its last tokens must lie behind the prefix.
inline bool can_go_on(const KvNeeds& needs, int n_prefix, int n_tokens) {
  return n_prefix < n_tokens && n_prefix <= n_tokens - needs.window_queries;
}

struct PromptRecorder;

class Session {
 public:
  // prefill_chunk: tokens in one pass, 0: the session chooses.
  explicit Session(std::shared_ptr<const Model> model, int prefill_chunk = 0);
  ~Session();

  const Model& model() const { return *model_; }
  // All rows that ran through the layers so far.
  int64_t tokens_computed() const { return tokens_computed_; }
  // Multiplications and additions that these needed: products with weights, and attention over the
  // rows that each query sees.
  double flops_computed() const { return flops_computed_; }
  // Processor seconds that prefills spent on what policies wanted recorded.
  double seconds_recording() const { return seconds_recording_; }

  PrefilledPrompt prefill(std::span<const int32_t> ids, const PrefillOptions& options);

  // Feeds tokens to several sequences in one pass; logits (sum of wanted rows, vocab) in segment
  // order.
  void forward(std::span<const Segment> segments, float* logits);

  // Feeds tokens to several sequences in one pass and hands out the logits of every row as they
  // come: (segment, index of the first row in it, n rows, logits (n, vocab)), in order within a
  // segment. Segment::logits is not read.
  using OnRows = std::function<void(size_t, int, int, const float*)>;
  void feed_together(std::span<const Segment> segments, const OnRows& on_rows);

  // One token for each cache; logits (n, vocab).
  void step(std::span<KvCache* const> caches, std::span<const int32_t> tokens, float* logits);

  // Feeds a long continuation in chunks; on_logits as in PrefillOptions.
  void feed(KvCache& cache, std::span<const int32_t> ids,
            const std::function<void(int, int, const float*)>& on_logits);

 private:
  struct Scratch;

  // How many of the next n_tokens of a sequence may share a pass, by its codec and its next cut.
  int longest_pass(const KvCache& cache, int n_tokens) const;
  // The same, and no more than a chunk where that is free.
  int next_chunk(const KvCache& cache, int n_tokens) const;
  // Segments that need several passes, piece by piece beside each other; logits[i] is where segment
  // i's go.
  void forward_stepwise(std::span<const Segment> segments, std::span<float* const> logits);
  // feed_together() for such segments; the others are left out.
  void feed_stepwise(std::span<const Segment> segments, const OnRows& on_rows);
  bool in_pieces(const Segment& s) const;  // needs several passes
  // Cuts the caches back whose turn it is after a pass.
  void count_cuts(std::span<const Segment> segments);
  // One pass of all segments through the layers; the residual rows stay in the scratch. Returns
  // their number.
  int run_layers(std::span<const Segment> segments, const PromptRecorder* recorder);
  // Lets the model repeat a prefilled prompt: (n_layers, n_kv_heads, n_tokens).
  std::vector<float> repeat_scores(const KvCache& cache, std::span<const int32_t> ids,
                                   const RepeatNeeds& needs);
  // Logits (rows.size(), vocab) of these residual rows.
  void logits_of(std::span<const int> rows, float* logits);
  // All rows of the last pass, in groups, to a callback.
  void stream_logits(int first_row, int n_rows,
                     const std::function<void(int, int, const float*)>& on_logits);
  // Adds a pass over these segments, whose rows are in their caches by now, to flops_computed_.
  void count_flops(std::span<const Segment> segments);
  // Makes the table reach every position that this pass can ask for.
  void rope_for(std::span<const Segment> segments);
  void check_ids(std::span<const int32_t> ids) const;

  std::shared_ptr<const Model> model_;
  int prefill_chunk_;
  std::shared_ptr<const LayerRopes> rope_;
  int64_t tokens_computed_ = 0;
  double flops_computed_ = 0, seconds_recording_ = 0;
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace kv
