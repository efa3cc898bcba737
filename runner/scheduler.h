// Works through all contexts of a model: each is prefilled once and compressed for every cell, texts
// are scored for many cells in a pass, and all sequences in flight, of whatever cell, question and
// context, take one token in a pass. New contexts join while memory and the batch have room.
//
// Nothing of this shows in a record: every answer has the bits that it has alone.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "engine/session.h"
#include "runner/answer.h"
#include "runner/memory_plan.h"
#include "runner/phases.h"
#include "runner/prefixes.h"
#include "runner/recorder.h"

namespace kv {

class Scheduler {
 public:
  struct Parts {
    const RunConfig& config;
    const PreparedModel& prepared;
    std::shared_ptr<const Model> model;
    const MemoryPlan& plan;
    Recorder& recorder;
    Manifest& manifest;
    std::function<bool()> stop;  // asked between steps of work
  };
  explicit Scheduler(const Parts& parts);
  ~Scheduler();

  // Answers what is still missing. A failure is recorded with each sample that it concerns; others
  // are not touched by it. Where stop() turns true the unfinished samples get no record and are
  // redone by the next run.
  void run();

  const Phases& phases() const { return phases_; }

 private:
  struct Context;  // a context while its cells are being opened
  struct Group;    // some of its cells, until their last answer is recorded

  bool open_next();
  bool fits_next() const;
  std::vector<SweepItem> missing_items(const Unit& unit) const;
  std::unique_ptr<Context> open_context(const Unit& unit, std::vector<SweepItem> items);
  std::shared_ptr<const PrefilledPrompt> prefill(const Context& context, size_t part);
  std::vector<SweepItem> take_items(Context& context) const;
  void open_group(Context& context, std::vector<SweepItem> items);
  void compress_group(const Context& context, Group& group);
  void score_group(const Context& context, Group& group);
  void step();
  void close_finished();
  void compare_group(Group& group);
  const std::vector<int32_t>* full_answer(Group& group, const std::vector<AnswerJob*>& jobs);
  void record(Group& group, size_t index);
  void fail_rest(Group& group, const std::string& error);
  int64_t bytes_in_flight() const;

  Parts parts_;
  Session session_;
  AnswerOptions answer_options_;
  MemoryCosts costs_;
  Generator generator_;
  SharedPrefixes prefixes_;
  std::deque<const Unit*> units_;  // not opened yet
  std::unique_ptr<Context> opening_;
  std::list<Group> groups_;
  Phases phases_;
};

}  // namespace kv
