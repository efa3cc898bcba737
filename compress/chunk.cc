// chunk: every slice of the prompt is cut by itself (kvpress's ChunkPress).
//
//   rows are cut into slices of `chunk` rows, the last one may be short; the policy inside scores each
//   slice as if it were all, and the best rows_kept(rows of the slice, ratio) of it stay; the rows
//   that it protects rank by their scores, the lower row among equals
//
// Differs from kvpress: a policy inside that asks the prompt's last queries asks them of every slice
// (there: the slice's own last queries, rotated as if they stood at the prompt's end).
#include <algorithm>
#include <span>

#include "compress/around.h"
#include "compress/method.h"
#include "compress/sub_view.h"

namespace kv {
namespace {

class ChunkPolicy : public AroundPolicy {
 public:
  ChunkPolicy(EvictionRules rules, int chunk) : AroundPolicy(std::move(rules)), chunk_(chunk) {}

  // Scores of the rows inside their slices.
  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    out.scores.resize(view.heads.size());
    int longest = 0;
    for (const LayerView::HeadRows& head : view.heads) longest = std::max(longest, head.n_rows);
    for (int first = 0; first < longest; first += chunk_) {
      std::vector<std::vector<int32_t>> rows(view.heads.size());  // a short head may have none
      for (size_t h = 0; h < rows.size(); ++h) {
        for (int r = first; r < slice_end(view.heads[h].n_rows, first); ++r) rows[h].push_back(r);
      }
      const SubView slice(view, rows);
      const LayerScores scored = inner().score(slice.view());
      for (size_t h = 0; h < rows.size(); ++h) {
        out.scores[h].insert(out.scores[h].end(), scored.scores[h].begin(), scored.scores[h].end());
      }
    }
    return out;
  }

 protected:
  LayerKeep choose(const LayerView& view, LayerScores scored) const override {
    LayerKeep keep;
    for (size_t h = 0; h < view.heads.size(); ++h) {
      std::vector<int32_t>& kept = keep.rows.emplace_back();
      const std::vector<bool>& always = scored.protection[h].always;
      for (int first = 0; first < view.heads[h].n_rows; first += chunk_) {
        const int end = slice_end(view.heads[h].n_rows, first);
        const std::span<const float> scores(scored.scores[h].data() + first, end - first);
        Protection protection;
        if (!always.empty()) {
          protection.always.assign(always.begin() + first, always.begin() + end);
        }
        const int n_kept = rows_kept(end - first, rules().ratio);
        for (const int32_t r : select_rows(scores, n_kept, protection, rules().ties)) {
          kept.push_back(first + r);
        }
      }
    }
    keep.scores = std::move(scored.scores);
    return keep;
  }

 private:
  int slice_end(int n_rows, int first) const { return std::min(n_rows, first + chunk_); }

  int chunk_;  // rows
};

}  // namespace

Method chunk_method() {
  Method method;
  method.info.name = "chunk";
  method.info.kind = "policy";
  method.info.kvpress_name = "Chunk";
  method.info.doc = "another policy on every slice of the prompt by itself";
  method.info.params = {inner_param("snapkv"),
                        integer_param("chunk", "1024", "rows of a slice", 1, 1 << 30)};
  method.takes_inner = true;
  method.can_be_inner = false;
  method.kvpress_keys = {{"press", "inner"}, {"chunk_length", "chunk"}};
  method.no_repeat = "every slice has a budget of its own";
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<ChunkPolicy>(std::move(rules), params.integer("chunk"));
  };
  return method;
}

}  // namespace kv
