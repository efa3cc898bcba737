// kvzip: rows that the model looks at while it repeats the prompt stay (arXiv 2505.23416, "KVzip:
// Query-Agnostic KV Cache Compression with Context Reconstruction").
//
//   S[layer, head, j] = the largest weight that a repeating token gives to row j (engine/repeat.h);
//                       0 for the rows of the chat template before the user's text
//   the first `sinks` rows get max(S over everything) + 1
//   layerwise=false: of all layers' and heads' rows together the trunc(total * ratio) smallest go
//   layerwise=true:  of every layer's the trunc(n_kv_heads L ratio) smallest
// So heads and layers keep as many rows as they are worth. plus=true weighs with what a row adds to the
// output (||V_j W_O||_2) against the size of the repeating token's input.
//
// Costs the prompt's prefill two to three times over. The four id lists come from the model's
// tokenizer and chat template; give all of them or none.
//
// Differs from kvpress: rows are removed, not masked; a head keeps at least one.
#include <algorithm>
#include <cmath>
#include <limits>

#include "compress/method.h"
#include "engine/error.h"

namespace kv {
namespace {

// A row of the cache.
struct Entry {
  float score;
  int32_t row, layer, head;
};

// Larger scores first, then lower rows.
bool better(const Entry& a, const Entry& b) {
  if (a.score != b.score) return a.score > b.score;
  if (a.row != b.row) return a.row < b.row;
  return a.layer != b.layer ? a.layer < b.layer : a.head < b.head;
}

class KvzipPolicy : public EvictionPolicy {
 public:
  KvzipPolicy(EvictionRules rules, RepeatNeeds repeat, bool layerwise)
      : EvictionPolicy(std::move(rules)), repeat_(std::move(repeat)), layerwise_(layerwise) {}

  KvNeeds inputs(int) const override {
    KvNeeds needs;
    needs.repeats = {repeat_};
    return needs;
  }

  LayerScores score(const LayerView& view) const override {
    LayerScores out;
    for (int h = 0; h < view.n_kv_heads; ++h) {
      std::vector<float>& scores = out.scores.emplace_back();
      for (const int32_t position : view.heads[h].positions) {
        scores.push_back(view.repeat_scores[static_cast<int64_t>(h) * view.n_tokens + position]);
      }
    }
    return out;
  }

  void settle(std::vector<LayerKeep>& layers) const override {
    if (!removes() || layers.empty() || layers[0].scores.empty()) return;
    raise_sinks(layers);
    std::vector<std::vector<Entry>> pools(layerwise_ ? layers.size() : 1);
    for (size_t l = 0; l < layers.size(); ++l) {
      for (size_t h = 0; h < layers[l].scores.size(); ++h) {
        const std::vector<float>& scores = layers[l].scores[h];
        for (size_t r = 0; r < scores.size(); ++r) {
          pools[layerwise_ ? l : 0].push_back({scores[r], static_cast<int32_t>(r),
                                               static_cast<int32_t>(l), static_cast<int32_t>(h)});
        }
        layers[l].rows[h].clear();
      }
    }
    for (const std::vector<Entry>& pool : pools) {
      for (const Entry& e : survivors(pool)) layers[e.layer].rows[e.head].push_back(e.row);
    }
    for (LayerKeep& layer : layers) {
      for (size_t h = 0; h < layer.rows.size(); ++h) {
        if (layer.rows[h].empty()) layer.rows[h] = top_rows(layer.scores[h], 1, Ties::kPosition);
        std::sort(layer.rows[h].begin(), layer.rows[h].end());
      }
    }
  }

 protected:
  // Every row stays until all layers are known; rows that the user protects rank above all.
  LayerKeep choose(const LayerView& view, LayerScores scored) const override {
    LayerKeep keep;
    for (size_t h = 0; h < view.heads.size(); ++h) {
      std::vector<int32_t>& rows = keep.rows.emplace_back();
      const std::vector<bool>& always = scored.protection[h].always;
      for (int32_t r = 0; r < view.heads[h].n_rows; ++r) {
        rows.push_back(r);
        if (!always.empty() && always[r]) {
          scored.scores[h][r] = std::numeric_limits<float>::infinity();
        }
      }
    }
    keep.scores = std::move(scored.scores);
    return keep;
  }

 private:
  void raise_sinks(std::vector<LayerKeep>& layers) const {
    float largest = 0;
    for (const LayerKeep& layer : layers) {
      for (const auto& scores : layer.scores) {
        for (const float s : scores) {
          if (std::isfinite(s)) largest = std::max(largest, s);
        }
      }
    }
    for (LayerKeep& layer : layers) {
      for (auto& scores : layer.scores) {
        const size_t n = std::min(scores.size(), static_cast<size_t>(repeat_.sinks));
        for (size_t r = 0; r < n; ++r) scores[r] = std::max(scores[r], largest + 1);
      }
    }
  }

  // What is left of a pool without its trunc(size * ratio) smallest rows.
  std::vector<Entry> survivors(std::vector<Entry> pool) const {
    auto n_pruned = static_cast<size_t>(static_cast<double>(pool.size()) * rules().ratio);
    const auto n_protected = static_cast<size_t>(std::count_if(
        pool.begin(), pool.end(), [](const Entry& e) { return std::isinf(e.score); }));
    n_pruned = std::min(n_pruned, pool.size() - n_protected);
    if (rules().ties == Ties::kPosition) {
      const auto end = pool.end() - static_cast<int64_t>(n_pruned);
      std::nth_element(pool.begin(), end, pool.end(), better);
      pool.erase(end, pool.end());
      return pool;
    }
    std::vector<float> negated;
    for (const Entry& e : pool) negated.push_back(-e.score);
    std::vector<bool> pruned(pool.size(), false);
    for (const int32_t i : top_rows(negated, static_cast<int>(n_pruned), Ties::kTorch)) {
      pruned[i] = true;
    }
    std::vector<Entry> left;
    for (size_t i = 0; i < pool.size(); ++i) {
      if (!pruned[i]) left.push_back(pool[i]);
    }
    return left;
  }

  RepeatNeeds repeat_;
  bool layerwise_;
};

const char* const kIdLists[] = {"prefix_ids", "suffix_ids", "repeat_first_ids", "repeat_next_ids"};

EvictionPtr make_kvzip(const Params& params, EvictionRules rules) {
  RepeatNeeds repeat;
  repeat.sinks = params.integer("sinks");
  repeat.chunk = params.integer("chunk");
  repeat.plus = params.boolean("plus");
  const auto given = std::count_if(std::begin(kIdLists), std::end(kIdLists),
                                   [&](const char* key) { return !params.is_null(key); });
  if (given != 0 && given != 4) {
    throw_usage("kvzip: {} of its four id lists are given ({}); expected all of them or none",
                given, fmt::join(kIdLists, ", "));
  }
  repeat.from_model = given == 0;
  if (given == 4) {
    repeat.prefix_ids = params.integers("prefix_ids");
    repeat.suffix_ids = params.integers("suffix_ids");
    repeat.first_ids = params.integers("repeat_first_ids");
    repeat.next_ids = params.integers("repeat_next_ids");
  }
  return std::make_shared<KvzipPolicy>(std::move(rules), std::move(repeat),
                                       params.boolean("layerwise"));
}

ParamSpec id_list(const std::string& name, const std::string& doc) {
  ParamSpec spec;
  spec.name = name;
  spec.type = ParamSpec::Type::kIntegerList;
  spec.default_text = "null";
  spec.doc = doc;
  spec.min = 0;
  return spec;
}

}  // namespace

Method kvzip_method() {
  Method method;
  method.info.name = "kvzip";
  method.info.kind = "policy";
  method.info.kvpress_name = "KVzip";
  method.info.doc = "keep what the model looks at while it repeats the prompt";
  method.info.paper = "arXiv 2505.23416";
  method.info.params = {
      bool_param("layerwise", "false", "every layer keeps the same share"),
      integer_param("sinks", "4", "rows kept at the start", 0),
      bool_param("plus", "false", "weigh with what a row adds to the output"),
      integer_param("chunk", "2048", "tokens that are repeated together", 1, 1 << 30),
      id_list("prefix_ids", "tokens before the user's text"),
      id_list("suffix_ids", "tokens that end the user's turn"),
      id_list("repeat_first_ids", "tokens that ask for the first piece"),
      id_list("repeat_next_ids", "tokens that ask for a later piece")};
  method.can_be_inner = false;
  method.kvpress_keys = {
      {"n_sink", "sinks"}, {"kvzip_plus_normalization", "plus"}, {"chunk_size", "chunk"}};
  method.no_repeat = "the model would have to repeat everything at every cut";
  method.make_policy = make_kvzip;
  return method;
}

}  // namespace kv
