// What every eviction policy shares: its common parameters and the way from scores to rows.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "compress/select.h"
#include "engine/kv_policy.h"
#include "engine/value.h"

namespace kv {

struct EvictionRules {
  std::string spec;  // canonical form of the whole term
  double ratio = 0;  // share of the rows removed, [0, 1)
  Positions positions = Positions::kOriginal;
  std::vector<std::pair<int, int>> protect;  // original positions from .. to, both included
  Ties ties = Ties::kPosition;
};

// The table entries `ratio`, `positions` (before a method's own parameters) and `protect`, `ties`
// (after them).
std::vector<ParamSpec> leading_params(const std::string& default_positions);
std::vector<ParamSpec> trailing_params();

// Reads those entries; spec stays empty. Throws Error(kUsage) where
// protect is not a list of [from, to].
EvictionRules read_rules(const Params& params);

// Scores of one layer and the rows that do not compete, for each KV head.
struct LayerScores {
  std::vector<std::vector<float>> scores;  // (n_kv_heads, n_rows), larger stays
  std::vector<Protection> protection;      // (n_kv_heads), or empty: none
};

// A policy that scores rows and keeps the best rows_kept(n_rows, ratio) of each KV head.
class EvictionPolicy : public KvPolicy {
 public:
  explicit EvictionPolicy(EvictionRules rules) : rules_(std::move(rules)) {}

  std::string spec() const final { return rules_.spec; }
  Positions positions() const final { return rules_.positions; }
  KvNeeds needs(int n_tokens) const final;
  // Where no head has a row to remove, every row stays and nothing is scored (ratio 0).
  LayerKeep select(const LayerView& view) const final;

 protected:
  const EvictionRules& rules() const { return rules_; }

  // As needs(), asked only where ratio > 0.
  virtual KvNeeds inputs(int n_tokens) const {
    (void)n_tokens;
    return {};
  }
  virtual LayerScores score(const LayerView& view) const = 0;

 private:
  EvictionRules rules_;
};

}  // namespace kv
