// block: the rows that stay are found block by block, as if the prompt came in blocks (kvpress's
// BlockPress; with keydiff inside, the paper arXiv 2504.15364's own form).
//
//   n = rows_kept(L, ratio); the first n rows are the candidates
//   for each following block of `block` rows: the policy inside scores candidates and block together;
//   the n best are the next candidates
// The candidates of the end stay. Attention saw the whole prompt all the same.
//
// Differs from kvpress: candidates stand in order of position, not of score; a policy inside that asks
// the prompt's last queries asks those for every block.
#include <algorithm>
#include <numeric>

#include "compress/around.h"
#include "compress/method.h"
#include "compress/sub_view.h"

namespace kv {
namespace {

class BlockPolicy : public AroundPolicy {
 public:
  BlockPolicy(EvictionRules rules, int block) : AroundPolicy(std::move(rules)), block_(block) {}

  // For each row the score of the last time it was looked at.
  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    for (const LayerView::HeadRows& head : view.heads) out.scores.emplace_back(head.n_rows, 0.0f);
    return out;
  }

 protected:
  LayerKeep choose(const LayerView& view, LayerScores scored) const override {
    const size_t n_heads = view.heads.size();
    LayerKeep keep;
    keep.rows.resize(n_heads);
    int steps = 0;  // of the head with most rows to go through
    for (size_t h = 0; h < n_heads; ++h) {
      keep.rows[h].resize(budget(view, static_cast<int>(h)));
      std::iota(keep.rows[h].begin(), keep.rows[h].end(), 0);
      const int left = view.heads[h].n_rows - static_cast<int>(keep.rows[h].size());
      steps = std::max(steps, (left + block_ - 1) / block_);
    }
    std::vector<int> next(n_heads);  // first row of the next block
    for (size_t h = 0; h < n_heads; ++h) next[h] = static_cast<int>(keep.rows[h].size());
    for (int step = 0; step < steps; ++step) {
      for (size_t h = 0; h < n_heads; ++h) {
        const int end = std::min(view.heads[h].n_rows, next[h] + block_);
        for (; next[h] < end; ++next[h]) keep.rows[h].push_back(next[h]);
      }
      reduce(view, scored, keep);
    }
    keep.scores = std::move(scored.scores);
    return keep;
  }

 private:
  // Of the candidates in keep.rows the best budget() ones stay.
  void reduce(const LayerView& view, LayerScores& scored, LayerKeep& keep) const {
    const SubView candidates(view, keep.rows);
    const LayerScores now = inner().score(candidates.view());
    for (size_t h = 0; h < keep.rows.size(); ++h) {
      std::vector<int32_t>& rows = keep.rows[h];
      Protection protection;
      if (!now.protection.empty()) protection = now.protection[h];
      const std::vector<bool>& always = scored.protection[h].always;
      for (size_t i = 0; i < rows.size(); ++i) {
        scored.scores[h][rows[i]] = now.scores[h][i];
        if (!always.empty()) protection.always.push_back(always[rows[i]]);
      }
      const int n_kept = std::min(budget(view, static_cast<int>(h)), static_cast<int>(rows.size()));
      std::vector<int32_t> kept;
      for (const int32_t i : select_rows(now.scores[h], n_kept, protection, rules().ties)) {
        kept.push_back(rows[i]);
      }
      rows = std::move(kept);
    }
  }

  int block_;  // rows
};

}  // namespace

Method block_method() {
  Method method;
  method.info.name = "block";
  method.info.kind = "policy";
  method.info.kvpress_name = "Block";
  method.info.doc = "another policy on what is left so far and the next block of rows";
  method.info.paper = "arXiv 2504.15364";
  method.info.params = {inner_param("keydiff"),
                        integer_param("block", "128", "rows that come together", 1, 1 << 30)};
  method.takes_inner = true;
  method.can_be_inner = false;
  method.kvpress_keys = {{"press", "inner"}, {"block_size", "block"}};
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<BlockPolicy>(std::move(rules), params.integer("block"));
  };
  return method;
}

}  // namespace kv
