// The votes of the prompt's last queries, which snapkv and pyramidkv share (formula: snapkv.cc).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "compress/eviction.h"
#include "engine/value.h"

namespace kv {

struct SnapKvParams {
  int window = 64;       // queries
  int kernel = 5;        // rows, odd
  bool max_pool = true;  // else average
};

// Reads `window`, `kernel`, `pooling`; what: the method, for messages. Throws Error(kUsage) for an
// even kernel.
SnapKvParams read_snapkv_params(const Params& params, const std::string& what);
// Their table entries.
std::vector<ParamSpec> snapkv_params();

class SnapKvPolicy : public EvictionPolicy {
 public:
  SnapKvPolicy(EvictionRules rules, const SnapKvParams& params, std::string name = "snapkv")
      : EvictionPolicy(std::move(rules)), params_(params), name_(std::move(name)) {}

  std::string note(int n_tokens) const override;
  KvNeeds inputs(int n_tokens) const override;
  LayerScores score(const LayerView& view) const override;
  bool scores_serve_any_ratio() const override { return true; }

 protected:
  SnapKvParams params_;

 private:
  std::string name_;  // for notes
};

}  // namespace kv
