// finch: the question at the prompt's end votes on what stays of the text before it (FINCH, TACL
// 10.1162/tacl_a_00716).
//
//   A   = attention of the last w prompt queries (the question's) to the rows before them
//   A_t *= L - w + t for the window's query t, where normalize=true: as many rows as it could see
//   s_j = mean over the w queries and the query heads of the group; no pooling
//   S   = s, and max(s over all heads) + 1 for the question's own rows, which stay
//   chunk = 0: the best rows_kept(L, ratio) rows; else of every slice of `chunk` rows its own best
//   rows_kept(rows of the slice, ratio)
//
// Kept keys take the positions 0 .. k - 1 (positions=contiguous), as in the paper.
//
// Differs from the paper and kvpress: no delimiter token marks the question, `window` says how many
// tokens it has, or with window=0 the task that moved it into the prompt (query_aware); slices are cut after the whole prompt was seen (as in kvpress).
#include <algorithm>
#include <limits>
#include <span>

#include "compress/method.h"
#include "compress/window_attention.h"
#include "engine/error.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

struct FinchParams {
  int window = 0;  // tokens of the question; 0: as the task marks it
  int chunk = 0;   // rows; 0: the whole prompt
  bool normalize = true;
};

void check_chunk(const FinchParams& params, double ratio, const std::string& place) {
  if (params.chunk == 0 || params.chunk > params.window / (1 - ratio)) return;
  throw_usage(
      "{}{}finch: 'chunk' must be larger than window / (1 - ratio) = {}, so that the question fits "
      "into what its slice keeps; found {}",
      place, place.empty() ? "" : ": ", params.window / (1 - ratio), params.chunk);
}

class FinchPolicy : public EvictionPolicy {
 public:
  FinchPolicy(EvictionRules rules, const FinchParams& params)
      : EvictionPolicy(std::move(rules)), params_(params) {}

  bool needs_question() const override { return params_.window == 0; }
  PolicyPtr with_question(int n_tokens) const override {
    if (n_tokens == 0) {
      throw_usage(
          "finch: 'window' is 0, but nothing marks where the question begins; give the number of "
          "tokens that the question has at the prompt's end, or in a run write 'query_aware: true' "
          "under the task");
    }
    FinchParams marked = params_;
    marked.window = n_tokens;
    check_chunk(marked, rules().ratio, "");
    EvictionRules rules = this->rules();
    rules.scoring += fmt::format(", question of {} tokens", n_tokens);
    return std::make_shared<FinchPolicy>(std::move(rules), marked);
  }

  std::string note(int n_tokens) const override {
    const int w = usable_window(params_.window, n_tokens);
    if (!removes() || w == params_.window) return {};
    return fmt::format("finch: window {} shrunk to {}, the prompt has {} tokens", params_.window, w,
                       n_tokens);
  }

  KvNeeds inputs(int n_tokens) const override {
    return {.window_queries = usable_window(params_.window, n_tokens), .keys = true};
  }

  bool scores_serve_any_ratio() const override { return true; }
  LayerScores score(const LayerView& view) const override {
    const int w = usable_window(params_.window, view.n_tokens);
    const int group = view.n_heads / view.n_kv_heads;
    std::vector<std::vector<double>> votes(view.n_heads);
    parallel_for(view.n_heads, [&](int64_t i) { votes[i] = vote(view, static_cast<int>(i), w); });
    LayerScores out;
    float largest = 0;
    for (int h = 0; h < view.n_kv_heads; ++h) {
      std::vector<float>& scores = out.scores.emplace_back();
      for (size_t j = 0; j < votes[h * group].size(); ++j) {
        double sum = 0;
        for (int i = h * group; i < (h + 1) * group; ++i) sum += votes[i][j];
        scores.push_back(static_cast<float>(sum / group));
        largest = std::max(largest, scores.back());
      }
      const int n_question = view.heads[h].n_rows - static_cast<int>(scores.size());
      out.protection.push_back({.always = {}, .first = 0, .newest = n_question});
    }
    for (int h = 0; h < view.n_kv_heads; ++h) {
      out.scores[h].resize(view.heads[h].n_rows, largest + 1);
    }
    return out;
  }

 protected:
  LayerKeep choose(const LayerView& view, LayerScores scored) const override {
    if (params_.chunk == 0) return EvictionPolicy::choose(view, std::move(scored));
    LayerKeep keep;
    for (size_t h = 0; h < view.heads.size(); ++h) {
      std::vector<int32_t>& kept = keep.rows.emplace_back();
      const int n = view.heads[h].n_rows;
      for (int first = 0; first < n; first += std::min(params_.chunk, n - first)) {
        const int end = first + std::min(params_.chunk, n - first);
        Protection protection;
        protection.newest = std::clamp(scored.protection[h].newest - (n - end), 0, end - first);
        const std::vector<bool>& always = scored.protection[h].always;
        if (!always.empty()) {
          protection.always.assign(always.begin() + first, always.begin() + end);
        }
        const std::span<const float> scores(scored.scores[h].data() + first, end - first);
        for (const int32_t r :
             select_rows(scores, rows_kept(end - first, rules().ratio), protection, rules().ties)) {
          kept.push_back(first + r);
        }
      }
    }
    keep.scores = std::move(scored.scores);
    return keep;
  }

 private:
  // Mean over the question's queries of the (weighted) attention of one query head.
  std::vector<double> vote(const LayerView& view, int query_head, int window) const {
    WindowAttention attention;
    window_attention(view, query_head, window, attention);
    const int n = rows_before_window(view, query_head / (view.n_heads / view.n_kv_heads), window);
    std::vector<double> mean(n, 0.0);
    for (int t = 0; t < window; ++t) {
      const float* row = attention.weights.data() + static_cast<int64_t>(t) * attention.stride;
      const double factor = params_.normalize ? view.n_tokens - window + t : 1;
      for (int j = 0; j < n; ++j) mean[j] += row[j] * factor / window;
    }
    return mean;
  }

  FinchParams params_;
};

EvictionPtr make_finch(const Params& params, EvictionRules rules) {
  FinchParams own{params.integer("window"), params.integer("chunk"), params.boolean("normalize")};
  if (own.window > 0) check_chunk(own, rules.ratio, params.value("chunk").place);
  return std::make_shared<FinchPolicy>(std::move(rules), own);
}

}  // namespace

Method finch_method() {
  Method method;
  method.info.name = "finch";
  method.info.kind = "policy";
  method.info.kvpress_name = "Finch";
  method.info.doc = "the question at the prompt's end votes on the text before it";
  method.info.paper = "10.1162/tacl_a_00716";
  method.info.params = {
      integer_param("window", "0",
                    "tokens of the question at the prompt's end, 0: as the task marks it", 0),
      integer_param("chunk", "0", "rows that are cut by themselves, 0: all together", 0),
      bool_param("normalize", "true", "weigh a query with the rows that it can see")};
  method.default_positions = "contiguous";
  method.kvpress_keys = {{"chunk_length", "chunk"}, {"normalize_scores", "normalize"}};
  method.no_repeat = "its votes come from the question at the prompt's end";
  method.make_policy = make_finch;
  return method;
}

}  // namespace kv
