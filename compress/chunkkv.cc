// chunkkv: whole chunks of neighbouring rows stay, the same in every head (arXiv 2502.00299, "ChunkKV:
// Semantic-Preserving KV Cache Compression for Efficient Long-Context LLM Inference").
//
//   s_j   = sum over KV heads of the scores of the policy inside
//   chunk = `chunk` rows from row 0 on, the last one may be short; its score is the mean of its s
//   the max(1, trunc(n_chunks (1 - ratio))) best chunks stay with all their rows
//   fewer rows than one chunk: each head keeps its best rows, as the policy inside alone would
//
// So the number of rows kept is a number of chunks, not rows_kept(L, ratio). After a former policy
// that left heads different rows, chunks are cut from all positions that any head holds
// (shared_rows.h).
//
// Differs from the paper: indices are not reused across layers.
#include <algorithm>
#include <cmath>

#include "compress/around.h"
#include "compress/method.h"
#include "compress/shared_rows.h"

namespace kv {
namespace {

class ChunkKvPolicy : public AroundPolicy {
 public:
  ChunkKvPolicy(EvictionRules rules, int chunk) : AroundPolicy(std::move(rules)), chunk_(chunk) {}

 protected:
  LayerKeep choose(const LayerView& view, LayerScores scored) const override {
    const SharedRows shared = share_rows(view, scored);
    const int n = shared.size();
    if (n < chunk_) return AroundPolicy::choose(view, std::move(scored));
    std::vector<float> means;
    for (int first = 0; first < n; first += chunk_) {
      const int end = std::min(n, first + chunk_);
      double sum = 0;
      for (int j = first; j < end; ++j) sum += shared.scores[j];
      means.push_back(static_cast<float>(sum / (end - first)));
    }
    const int n_kept = rows_kept(static_cast<int>(means.size()), rules().ratio);
    std::vector<bool> keep(n, false);
    for (const int32_t c : top_rows(means, n_kept, rules().ties)) {
      std::fill(keep.begin() + c * chunk_, keep.begin() + std::min(n, (c + 1) * chunk_), true);
    }
    return keep_shared(view, std::move(scored), shared, keep);
  }

 private:
  int chunk_;  // rows
};

}  // namespace

Method chunkkv_method() {
  Method method;
  method.info.name = "chunkkv";
  method.info.kind = "policy";
  method.info.kvpress_name = "ChunkKV";
  method.info.doc = "keep whole chunks of rows, by the scores of another policy";
  method.info.paper = "arXiv 2502.00299";
  method.info.params = {inner_param("snapkv"), integer_param("chunk", "20", "rows of a chunk", 1)};
  method.takes_inner = true;
  method.can_be_inner = false;
  method.kvpress_keys = {{"press", "inner"}, {"chunk_length", "chunk"}};
  method.no_repeat = "it keeps whole chunks, not a number of rows";
  method.make_policy = [](const Params& params, EvictionRules rules) -> EvictionPtr {
    return std::make_shared<ChunkKvPolicy>(std::move(rules), params.integer("chunk"));
  };
  return method;
}

}  // namespace kv
