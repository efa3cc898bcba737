// entropy_chunkkv: chunks stay whole, but important ones with few peaks keep only these (kvpress's
// EntropyGatedChunkKVPress).
//
//   s_j    = sum over KV heads of the scores of the policy inside, chunks as in chunkkv.cc
//   mean_c = mean of s over the chunk
//   h_c    = -sum p log(p + 1e-8) / log(rows), clamped to [0, 1], with p = s / (sum of s + 1e-8);
//            scores below 0 are lifted by the chunk's smallest first; a chunk of one row: 0
//   budget = rows_kept(L, ratio) rows; chunks by falling mean take what they may of what is left of
//            it: the `low` best rows where mean_c >= median and h_c < median, else all rows
//   what is left in the end goes to the best rows that are not kept
// Medians are lower ones. Exactly `budget` rows stay, the same in all heads (shared_rows.h).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "compress/around.h"
#include "compress/method.h"
#include "compress/shared_rows.h"

namespace kv {
namespace {

constexpr double kEpsilon = 1e-8;

struct Chunk {
  int first, end;  // of SharedRows
  float mean, entropy;
};

float entropy_of(const float* scores, int n) {
  if (n == 1) return 0;
  const double lift = std::min(0.0, static_cast<double>(*std::min_element(scores, scores + n)));
  double sum = 0;
  for (int j = 0; j < n; ++j) sum += scores[j] - lift;
  double h = 0;
  for (int j = 0; j < n; ++j) {
    const double p = (scores[j] - lift) / (sum + kEpsilon);
    h -= p * std::log(p + kEpsilon);
  }
  return static_cast<float>(std::clamp(h / std::log(static_cast<double>(n)), 0.0, 1.0));
}

// The lower median of one field.
float median(const std::vector<Chunk>& chunks, float Chunk::*field) {
  std::vector<float> values;
  for (const Chunk& c : chunks) values.push_back(c.*field);
  const auto middle = values.begin() + static_cast<int64_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Marks the n best rows of [first, end) that are not kept yet.
void keep_best(const SharedRows& shared, int first, int end, int n, Ties ties,
               std::vector<bool>& keep) {
  std::vector<int> rows;
  std::vector<float> scores;
  for (int j = first; j < end; ++j) {
    if (keep[j]) continue;
    rows.push_back(j);
    scores.push_back(shared.scores[j]);
  }
  const int k = std::min(n, static_cast<int>(rows.size()));
  for (const int32_t i : top_rows(scores, k, ties)) keep[rows[i]] = true;
}

class EntropyChunkKvPolicy : public AroundPolicy {
 public:
  EntropyChunkKvPolicy(EvictionRules rules, int chunk, int low)
      : AroundPolicy(std::move(rules)), chunk_(chunk), low_(low) {}

 protected:
  LayerKeep choose(const LayerView& view, LayerScores scored) const override {
    const SharedRows shared = share_rows(view, scored);
    std::vector<Chunk> chunks = chunks_of(shared);
    const float mean_median = median(chunks, &Chunk::mean);
    const float entropy_median = median(chunks, &Chunk::entropy);
    std::stable_sort(chunks.begin(), chunks.end(),
                     [](const Chunk& a, const Chunk& b) { return a.mean > b.mean; });
    std::vector<bool> keep(shared.size(), false);
    int budget = rows_of(view, shared.size());
    for (const Chunk& c : chunks) {
      int n = std::min(c.end - c.first, budget);
      if (c.mean >= mean_median && c.entropy < entropy_median) n = std::min(n, low_);
      keep_best(shared, c.first, c.end, n, rules().ties, keep);
      budget -= n;
    }
    keep_best(shared, 0, shared.size(), budget, rules().ties, keep);
    return keep_shared(view, std::move(scored), shared, keep);
  }

 private:
  std::vector<Chunk> chunks_of(const SharedRows& shared) const {
    std::vector<Chunk> chunks;
    for (int first = 0; first < shared.size(); first += chunk_) {
      const int end = std::min(shared.size(), first + chunk_);
      const float* scores = shared.scores.data() + first;
      const double sum = std::accumulate(scores, scores + (end - first), 0.0);
      chunks.push_back(
          {first, end, static_cast<float>(sum / (end - first)), entropy_of(scores, end - first)});
    }
    return chunks;
  }

  int chunk_, low_;  // rows
};

EvictionPtr make_entropy_chunkkv(const Params& params, EvictionRules rules) {
  const int chunk = params.integer("chunk"), low = params.integer("low");
  if (low >= chunk) {
    const std::string& place = params.value("low").place;
    throw_usage("{}{}entropy_chunkkv: 'low' must be smaller than 'chunk' ({}), found {}", place,
                place.empty() ? "" : ": ", chunk, low);
  }
  return std::make_shared<EntropyChunkKvPolicy>(std::move(rules), chunk, low);
}

}  // namespace

Method entropy_chunkkv_method() {
  Method method;
  method.info.name = "entropy_chunkkv";
  method.info.kind = "policy";
  method.info.kvpress_name = "EntropyGatedChunkKV";
  method.info.doc = "chunkkv, but important chunks with few peaks keep only these";
  method.info.params = {
      inner_param("snapkv"), integer_param("chunk", "10", "rows of a chunk", 2),
      integer_param("low", "4", "rows that stay of an important chunk of low entropy", 1)};
  method.takes_inner = true;
  method.can_be_inner = false;
  method.kvpress_keys = {
      {"press", "inner"}, {"chunk_length", "chunk"}, {"low_entropy_chunk_length", "low"}};
  method.make_policy = make_entropy_chunkkv;
  return method;
}

}  // namespace kv
