// Works through units: prefill a context once, compress it for every cell, answer every question,
// append records.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/compression.h"
#include "engine/session.h"
#include "runner/answer.h"
#include "runner/manifest.h"
#include "runner/memory_plan.h"
#include "runner/prepare.h"
#include "runner/results.h"

namespace kv {

class UnitRunner {
 public:
  struct Parts {
    const RunConfig& config;
    const Preparation& preparation;
    size_t model_index;
    std::shared_ptr<const Model> model;
    const MemoryPlan& plan;
    ResultWriter& results;
    Manifest& manifest;
    std::function<void(const SampleRecord&)> on_record;  // progress; may be empty
    std::function<bool()> stop;                          // asked between steps of work
  };
  explicit UnitRunner(const Parts& parts);

  // Answers what is still missing of a unit. A failure is recorded with each sample that it
  // concerns; other units are not touched by it. Where stop() turns true the unfinished samples get
  // no record and are redone by the next run.
  void run(const Unit& unit);

  int64_t n_failed() const { return n_failed_; }

 private:
  // One (cell, sample) that has no record yet.
  struct Item {
    size_t compressor = 0;
    Unit::Question question;
  };

  std::vector<Item> missing_items(const Unit& unit) const;
  // The context in this codec, with what the served items need. Nothing where that failed: the
  // dependent items then have their records.
  std::optional<PrefilledPrompt> try_prefill(const std::vector<int32_t>& context,
                                             const CodecPtr& codec, const std::vector<Item>& served,
                                             const std::vector<Item>& dependent);
  // Items whose prompt is stored alike, as many cells together as fit into memory. full: the prompt
  // in kv_dtype.
  void run_items(const PrefilledPrompt& prompt, const PrefilledPrompt& full,
                 const std::vector<Item>& items);
  void run_group(const PrefilledPrompt& prompt, const PrefilledPrompt& full,
                 const std::vector<Item>& items);
  void answer_scored(const PrefilledPrompt& prompt, const PrefilledPrompt& full,
                     const std::vector<AnswerJob*>& jobs);
  // Jobs of tasks that ask for it, along the full cache's answers. Those that a stop cuts off become
  // unfinished.
  void compare_answers(const PrefilledPrompt& prompt, const PrefilledPrompt& full,
                       const std::vector<AnswerJob*>& jobs);
  // The full cache's answer to the jobs' sample: one of theirs, one that is known, or made anew.
  // Null where a stop ended that.
  const std::vector<int32_t>* full_answer(const PrefilledPrompt& full,
                                          const std::vector<AnswerJob*>& jobs);
  void finish_item(const Item& item, const AnswerJob& job, const CompressedCache& compressed,
                   int64_t prompt_bytes);
  void fail_item(const Item& item, const std::string& error);
  void append(const SampleRecord& record);

  const Sample& sample_of(const Unit::Question& question) const;
  const Cell& cell_of(const Item& item) const;
  SampleRecord new_record(const Item& item) const;

  Parts parts_;
  Session session_;
  AnswerOptions answer_options_;
  std::map<const Sample*, std::vector<int32_t>> full_answers_;  // of the unit in work
  std::vector<CompressionPlan> plans_;  // by compressor, for the unit in work
  int64_t n_failed_ = 0;
};

}  // namespace kv
