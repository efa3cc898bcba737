// What the tasks on generated long texts share: a prompt is built around what is asked for and
// filled up to a length in tokens; the answer is one line that has to contain some strings.
//
// The kinds of tasks are RULER's (arXiv 2404.06654: needles, variable tracking, common and frequent
// words, question answering); texts, words and numbers are our own and generated, so no data are
// needed. Prompts are made in RULER's way: instruction and text first (the context, which is
// compressed), then the question with the beginning of its answer. Scores are RULER's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tasks/draws.h"
#include "tasks/task.h"

namespace kv {

struct LongQuestion {
  std::string text;          // what stands between context and answer
  std::string answer_start;  // how the answer begins; no blank at its end
  std::vector<std::string> expected;
};

// One context with the questions about it, each a sample of its own.
struct LongPrompt {
  std::string context;
  std::vector<LongQuestion> questions;
};

// A task's own parameters with those that all of them have: lengths, samples, seed, examples, chat,
// max_new_tokens.
std::vector<ParamSpec> long_prompt_params(std::vector<ParamSpec> own, int examples,
                                          int max_new_tokens);
std::vector<MetricInfo> long_prompt_metrics();

// The words of a list that ships (tasks/data/words/<name>.txt), one a line.
std::vector<std::string> shipped_words(const std::string& name);

// "amber", "amber and coral", "amber, coral and jade", each with `before` in front.
std::string spoken_list(const std::vector<std::string>& items, const std::string& before);

class LongPromptTask : public Task {
 public:
  LongPromptTask(std::string name, const Params& params);

  std::string name() const override { return name_; }
  int version() const override { return 1; }
  std::string canonical() const override { return canonical_; }
  std::vector<MetricInfo> metrics() const override { return long_prompt_metrics(); }
  std::string data_hash() const override;

  // For each length, `samples` contexts: the largest that take at most so many tokens together with
  // their longest question. Throws Error(kUsage) where a length is too short for an empty filler.
  std::vector<Sample> samples(const TextTools& tools, int limit) const override;
  Scores score(const Sample& sample, const Answer& answer) const override;

 protected:
  // The prompt with `filler` units of what is not asked for; more of it takes more tokens.
  virtual LongPrompt build(Draws draws, size_t filler) const = 0;
  virtual size_t example_filler() const = 0;               // of a solved example
  virtual size_t most_filler() const { return SIZE_MAX; }  // filler is below it
  virtual std::string data_text() const = 0;               // all that prompts are made from

 private:
  LongPrompt prompt(uint64_t stream, size_t filler) const;
  std::string solved_examples() const;
  size_t n_tokens(const LongPrompt& prompt, const TextTools& tools) const;
  size_t filler_that_fits(int length, uint64_t stream, const TextTools& tools, size_t guess) const;
  Sample make_sample(const LongPrompt& prompt, size_t question, const TextTools& tools) const;

  std::string name_, canonical_, place_;
  std::vector<int> lengths_;
  int samples_, examples_, max_new_tokens_;
  uint64_t seed_;
  bool chat_;
};

}  // namespace kv
