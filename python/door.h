// What the Python module offers, in C++: a loaded model, compressed caches, and batches of work on them.
// module.cc only translates between these and Python.
//
// All throw Error(kUsage) for what the caller gets wrong. A Door and its caches are used by one thread
// at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "compress/registry.h"
#include "engine/compression.h"
#include "engine/kv_cache.h"
#include "engine/model.h"
#include "engine/sampler.h"
#include "engine/session.h"

namespace kv {

// Tokens of a text, each given those before it.
struct TokenScores {
  std::vector<float> log_probs;  // nats
  std::vector<bool> greedy;      // the token was the most likely one (lowest id among equals)
};

// A sequence after its prompt was compressed; it grows as tokens are fed.
struct DoorCache {
  DoorCache(std::shared_ptr<const Model> of, std::string spec, KvCache rows)
      : model(std::move(of)), compressor(std::move(spec)), cache(std::move(rows)) {}
  DoorCache fork() const;

  std::shared_ptr<const Model> model;
  std::string compressor;  // canonical
  KvCache cache;
  int n_prompt = 0;                  // tokens that were compressed
  std::vector<float> last_logits;    // (vocab): predicts the next token
  std::vector<float> prompt_logits;  // (n_prompt, vocab); empty unless asked for
  TokenScores prompt_scores;         // of the prompt's tokens but the first; empty unless asked for
  std::vector<std::vector<std::vector<int32_t>>> kept;  // positions, (n_layers)(n_kv_heads), rising
  std::vector<std::string> notes;                       // remarks of the policies
};

struct GenerateOptions {
  int max_new_tokens = 128;
  std::vector<std::string> until;  // stop before the first of these texts
  bool ignore_eos = false;
  SamplingOptions sampling;
};

struct Generated {
  std::vector<int32_t> ids;  // without the end-of-text id
  std::string text;          // cut before a stop text; empty for a model without tokenizer
  std::string stop_reason;   // "eos" | "stop" | "length"
};

struct DoorPrefill {
  bool logits = false;  // keep those of every prompt token
  bool scores = false;  // score the prompt's own tokens
  int n_question = 0;   // the prompt's last tokens are the question, for methods that must know it
};

class Door {
 public:
  // location: what engine/hub.h finds. kv_dtype: f32 | f16 | bf16.
  Door(const std::string& location, const LoadOptions& options, const std::string& kv_dtype,
       int prefill_chunk);

  const std::shared_ptr<const Model>& model() const { return model_; }
  const std::string& kv_dtype() const { return kv_dtype_; }
  int64_t tokens_computed() const { return session_.tokens_computed(); }

  // Called between passes; may throw to end the work.
  std::function<void()> between_passes = [] {};

  // Prefills the prompt once for all specs that can share it, and compresses it for each. In the order
  // of specs.
  std::vector<DoorCache> prefill(const std::vector<int32_t>& ids,
                                 const std::vector<std::string>& specs, const DoorPrefill& options);

  // Feeds a continuation to each cache, several in a pass; on_rows as in Session::feed_together. Each
  // cache's last_logits follow. Caches must differ; a continuation may be empty.
  void feed(const std::vector<DoorCache*>& caches, const std::vector<std::vector<int32_t>>& ids,
            const Session::OnRows& on_rows);
  // Scores a continuation of each cache, the first token from its last_logits. The caches stay as they
  // are and may occur several times. What is fed is the continuation without its last token, or all of
  // it where the codec takes a continuation as one block.
  std::vector<TokenScores> score(const std::vector<const DoorCache*>& caches,
                                 const std::vector<std::vector<int32_t>>& ids);
  // Tokens after each cache, all caches step by step together. The last token is not fed.
  std::vector<Generated> generate(const std::vector<DoorCache*>& caches,
                                  const GenerateOptions& options);

 private:
  CompressorSpec read_spec(const std::string& text, int n_question) const;
  PrefilledPrompt prefill_for(const std::vector<int32_t>& ids,
                              const std::vector<const CompressionPlan*>& plans,
                              const std::function<void(int, int, const float*)>& on_logits);
  void check_cache(const DoorCache* cache) const;
  void check_distinct(const std::vector<DoorCache*>& caches) const;
  // Several in a pass, or one that is long in chunks; the empty ones are left out.
  void feed_in_passes(const std::vector<KvCache*>& caches,
                      const std::vector<std::span<const int32_t>>& ids,
                      const Session::OnRows& on_rows);

  std::shared_ptr<const Model> model_;
  std::string kv_dtype_;
  Session session_;
};

}  // namespace kv
