// A cut that repeats while tokens come, and what one sequence carries for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/kv_plan.h"
#include "engine/recorded_inputs.h"

namespace kv {

class RopeTable;

// Counts the tokens that a sequence was fed since its last cut and records what the cut's policy
// wants to know of their queries. A value: a fork of a cache takes a copy.
class CutState {
 public:
  CutState() = default;  // no cut ever comes

  // rule: not null. positions: where the rows stand that a cut leaves. seen: what was recorded of
  // the n_tokens tokens before.
  CutState(const ModelConfig& config, std::shared_ptr<const RepeatedCut> rule, Positions positions,
           const RecordedInputs& seen, int n_tokens);

  // Nothing seen yet.
  CutState(const ModelConfig& config, std::shared_ptr<const RepeatedCut> rule, Positions positions);

  bool active() const { return rule_ != nullptr; }
  const RepeatedCut& rule() const { return *rule_; }
  Positions positions() const { return positions_; }

  // Tokens until the next cut, at least 1. active() only.
  int tokens_left() const { return rule_->every - n_since_; }

  // The queries of the tokens first_token .. first_token + n - 1 of one layer, before RoPE: head h
  // of token i at queries + i * stride + h * head_dim. Tokens must come in order.
  void record(int layer, int first_token, int n, const float* queries, int64_t stride,
              const RopeTable& rope);
  // After all layers of these tokens. True: a cut is due, and the count begins anew.
  bool count(int n_tokens);

  // What the cut's policy may look at after n_tokens tokens in all.
  RecordedInputs inputs(int n_tokens) const;

  // Bytes that all this takes for as long as the sequence lives.
  size_t bytes() const;

  // All that tokens changed, as flat numbers, for files.
  struct Memory {
    int n_since = 0, n_recorded = 0;
    std::vector<float> queries;
    std::vector<double> moments;
  };
  Memory memory() const;
  // Takes over what memory() of a state with the same rule gave; false where it does not fit.
  bool remember(const Memory& memory);

 private:
  // Queries of the last that many tokens; token t in slot t % n_window.
  QueryWindow ring_;
  int n_recorded_ = 0;  // slots in use
  std::vector<QueryMoments> moments_;
  std::shared_ptr<const RepeatedCut> rule_;
  Positions positions_ = Positions::kOriginal;
  int n_since_ = 0;  // tokens since the last cut
  int n_layers_ = 0, n_heads_ = 0, head_dim_ = 0;
};

}  // namespace kv
