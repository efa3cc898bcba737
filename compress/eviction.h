// What every eviction policy shares: its common parameters and the way from scores to rows.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "compress/select.h"
#include "engine/kv_policy.h"
#include "engine/value.h"

namespace kv {

class EvictionPolicy;
using EvictionPtr = std::shared_ptr<const EvictionPolicy>;

struct EvictionRules {
  std::string spec;  // canonical form of the whole term
  // The method with its own parameters alone: with the folder, all that scores depend on where no ratio
  // matters. Empty: they are not shared.
  std::string scoring;
  double ratio = 0;  // share of the rows removed, [0, 1)
  Positions positions = Positions::kOriginal;
  std::vector<std::pair<int, int>> protect;  // original positions from .. to, both included
  Ties ties = Ties::kPosition;
  bool repeated = false;  // cuts while tokens come: each view says how many rows stay, not ratio
  std::string folder;     // what file names are relative to
  // The policy that one around another was given as `inner`, at a ratio; else null.
  std::function<EvictionPtr(double ratio)> make_inner;
};

// The table entries `ratio` (where the method has it), `positions` (before its own parameters) and
// `protect`, `ties` (after them).
std::vector<ParamSpec> leading_params(const std::string& default_positions, bool has_ratio);
std::vector<ParamSpec> trailing_params();

// Reads those entries; spec, folder and make_inner stay empty. A method without `ratio` has 0. Throws
// Error(kUsage) where protect is not a list of [from, to].
EvictionRules read_rules(const Params& params, bool has_ratio);

// A policy that scores rows and keeps the best of them, by default rows_kept(n_rows, ratio) in each
// KV head.
class EvictionPolicy : public KvPolicy {
 public:
  explicit EvictionPolicy(EvictionRules rules) : rules_(std::move(rules)) {}

  std::string spec() const final { return rules_.spec; }
  Positions positions() const final { return rules_.positions; }
  KvNeeds needs(int n_tokens) const final;
  // Where keeps_all(), every row stays and nothing is scored.
  LayerKeep select(const LayerView& view) const final;

  // What a policy around this one asks too. inputs: as needs(), whatever the ratio.
  virtual KvNeeds inputs(int n_tokens) const {
    (void)n_tokens;
    return {};
  }
  virtual LayerScores score(const LayerView& view) const = 0;
  // What score() gives, or gave another policy of the same method and parameters for the same rows.
  LayerScores scored(const LayerView& view) const;

 protected:
  const EvictionRules& rules() const { return rules_; }

  // Whether score() reads nothing of rules() and no number of rows to keep, so that ratios can share it.
  virtual bool scores_serve_any_ratio() const { return false; }
  // False: every row of every layer stays.
  virtual bool removes() const { return rules_.ratio > 0 || rules_.repeated; }
  // Rows that stay of n_rows, and the share that goes: what the view says, else by rules().ratio.
  int rows_of(const LayerView& view, int n_rows) const;
  double ratio_of(const LayerView& view, int n_rows) const;
  // What each KV head would keep if the layer's budget went out evenly; more than it has where
  // former cuts left it few rows.
  std::vector<int> even_budgets(const LayerView& view) const;
  // Rows of one KV head that stay, 1 .. n_rows.
  virtual int budget(const LayerView& view, int kv_head) const;
  virtual bool keeps_all(const LayerView& view) const;
  // From scores to rows: here the best budget() ones of each KV head. scored.protection has one
  // entry for each KV head, with the user's `protect` filled in.
  virtual LayerKeep choose(const LayerView& view, LayerScores scored) const;

 private:
  EvictionRules rules_;
};

}  // namespace kv
