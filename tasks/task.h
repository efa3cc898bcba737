// Tasks: prompts in, scores out. A task never sees a model; the runner answers its requests.
//
//   data -> samples() -> Sample {context, request} -> runner: prefill context, compress, answer ->
//   score()
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/value.h"

namespace kv {

// What a task may ask about the model's text handling. Empty functions where the model has no
// tokenizer.
struct TextTools {
  std::function<std::vector<int32_t>(const std::string& text, bool add_special_tokens)> encode;
  std::function<std::string(const std::vector<int32_t>& ids)> decode;  // special tokens skipped
  // kvpress's split of a chat around a user message: text before and including it, text after it.
  // Without a chat template: bos + context, and "\n".
  std::function<std::pair<std::string, std::string>(const std::string& context)> split_chat;
  bool has_chat_template = false;
  int32_t eos_id = -1;
  int max_position = 0;
};

// One question about one context. The context is prefilled and compressed once for all samples with
// equal context_ids.
struct Sample {
  std::string id;                    // unique in the task, stable across runs
  std::vector<int32_t> context_ids;  // prefilled, then compressed
  int question_tokens = 0;           // the last that many of context_ids are the question
  std::vector<int32_t>
      continuation_ids;  // kGenerate: fed after compression, before the answer (may be empty);
                         // kScore: every token is scored, the first from the last context logit
  enum class Kind { kGenerate, kScore } kind = Kind::kGenerate;
  int max_new_tokens = 0;         // kGenerate: 0 = as the run says
  bool ignore_end = false;        // kGenerate: the end-of-text token is a token like others
  std::vector<std::string> stop;  // kGenerate: cut before the first of these
  // kGenerate: tokens that end an answer besides the model's own, and whether none of all these may be
  // its first.
  std::vector<int32_t> end_ids = {};
  bool never_empty = false;
  // kGenerate: an answer of several parts. When one is complete the next of these token lists is fed
  // and another part is written after it; limit and stop strings hold for each part.
  std::vector<std::vector<int32_t>> follow_ups = {};
  std::map<std::string, std::string>
      meta;  // what score() needs again, and what the report groups by ("depth", "length")
};

// The runner's answer.
struct Answer {
  std::string text;                     // kGenerate: all parts and what was fed between them
  std::vector<int32_t> ids;             // kGenerate: the same, without the ids that ended a part
  std::vector<std::string> parts = {};  // kGenerate: what the model wrote, 1 + follow-ups
  std::string stop_reason;              // "eos" | "length" | "stop"
  std::vector<float> nll;               // kScore: -log p of each continuation token, nats
};

// Notes in the sample's meta where it is longer than the model's configuration says.
void add_length_note(Sample& sample, const TextTools& tools);

using Scores = std::map<std::string, double>;

struct MetricInfo {
  std::string name;
  bool higher_is_better = true;
  std::string doc;  // one line, with the unit
};

// One (task, metric) of one cell: mean over samples unless the task says otherwise.
struct Aggregate {
  double value = 0;
  double ci_low = 0, ci_high = 0;  // 95 %
  int n = 0;
};

class Task {
 public:
  virtual ~Task() = default;
  virtual std::string name() const = 0;  // as in configs: "perplexity"
  virtual int version() const = 0;       // raised with every change of prompts or scores
  virtual std::string canonical()
      const = 0;  // name and every parameter, for fingerprints and reports
  virtual std::vector<MetricInfo> metrics() const = 0;  // the first one is the headline
  virtual std::string data_hash() const = 0;  // xxh3 hex of the data file (or the built-in sample)

  // Every sample, in order; limit < 0: all. Throws Error(kData).
  virtual std::vector<Sample> samples(const TextTools& tools, int limit) const = 0;
  virtual Scores score(const Sample& sample, const Answer& answer) const = 0;

  // Whether score() runs what a model wrote. Such a task works only after allow_code(), which the
  // runner calls before any work where the user has opted in. sandbox: "bubblewrap" or "rlimits".
  // Throws Error(kUsage) where programs cannot be isolated here.
  virtual bool runs_code() const { return false; }
  virtual void allow_code(const std::string& /*sandbox*/) {}
  // Whether the runner also compares every cell with the full cache along the full cache's answers:
  // scores "kld" and "top1_agreement". Of tasks that generate; those that score a text always do.
  bool compares() const { return compares_; }
  void set_compares(bool compares) { compares_ = compares; }
  // Whether the question moves from the continuation into the context, where compressors see it.
  bool query_aware() const { return query_aware_; }
  void set_query_aware(bool query_aware) { query_aware_ = query_aware; }
  // The most tokens of a context that are read, from its start; 0: all. The question, which comes
  // after the context, is never cut.
  int max_context_length() const { return max_context_length_; }
  void set_max_context_length(int tokens) { max_context_length_ = tokens; }
  // scores: one entry for each finished sample of one cell. The default: mean and a bootstrap or
  // Wilson interval.
  virtual std::map<std::string, Aggregate> aggregate(const std::vector<Scores>& scores) const;

 private:
  bool compares_ = false, query_aware_ = false;
  int max_context_length_ = 0;
};

struct TaskInfo {
  std::string name;
  std::string doc;
  std::vector<ParamSpec> params;
  std::vector<MetricInfo> metrics;
  bool generates = true;  // false: it scores a given text
  std::function<std::unique_ptr<Task>(const Params& params, const std::string& base_folder)> make;
  // Where one entry of a config may stand for several tasks: an entry for each. Empty: it never does.
  std::function<std::vector<Value>(const Value& value, const std::string& base_folder)> split = {};
};
const std::vector<TaskInfo>& all_tasks();  // registry order

// A bare name or {name: …, parameters…}. base_folder: what `data` is relative to. Throws
// Error(kUsage).
std::unique_ptr<Task> make_task(const Value& value, const std::string& base_folder);

// What make_task takes one by one: `value`, or an entry for each task that it stands for (longbench
// without a dataset). Throws Error.
std::vector<Value> split_task(const Value& value, const std::string& base_folder);

}  // namespace kv
