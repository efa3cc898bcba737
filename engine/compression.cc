#include "engine/compression.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "engine/error.h"
#include "engine/heavy_rows.h"
#include "engine/kv_budget.h"
#include "engine/layer_rows.h"
#include "engine/rope.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

using Rows = std::vector<int32_t>;  // indices of prompt rows, rising

// One plan on its way through its policies.
struct Progress {
  const CompressionPlan* plan;
  std::vector<std::vector<HeadState>> heads;            // (n_layers)(n_kv_heads) what is left
  std::vector<std::vector<std::vector<float>>> scores;  // by prompt row
  std::vector<LayerKeep> decided;        // by the policy at hand, of the layers without a window
  std::shared_ptr<HeavyRows> step = {};  // of rules that act after the prompt
};

class Compressor {
 public:
  Compressor(const Model& model, const PrefilledPrompt& prompt)
      : model_(model), config_(model.config), prompt_(prompt) {}

  std::vector<Progress> start(const std::vector<const CompressionPlan*>& plans) const {
    std::vector<std::vector<HeadState>> all;
    for (int layer = 0; layer < config_.n_layers; ++layer) {
      const int first = prompt_.cache.head(layer, 0).first_row;
      Rows rows(n_tokens() - first);
      std::iota(rows.begin(), rows.end(), first);
      all.emplace_back(config_.n_kv_heads, HeadState{rows, {}, {}, {}});
    }
    std::vector<Progress> progress;
    for (const CompressionPlan* plan : plans) {
      progress.push_back({plan, all, {}, {}});
      if (plan->step) keep_for_step(progress.back());
    }
    return progress;
  }

  // Applies the stage-th policy of every plan that has one.
  void run_stage(std::vector<Progress>& progress, size_t stage) const {
    std::vector<Progress*> active;
    KvNeeds needs;
    for (Progress& p : progress) {
      if (p.plan->policies.size() <= stage) continue;
      active.push_back(&p);
      needs.join(p.plan->policies[stage]->needs(prompt_.cache.n_tokens()));
      p.decided.clear();
    }
    for (int layer = 0; layer < config_.n_layers; ++layer) {
      if (slides(layer)) continue;
      KnownScores known_scores;  // of all the layer's rows
      const LayerRows rows(model_, prompt_.cache, prompt_.rope->at(layer), prompt_, layer, needs);
      for (Progress* p : active) {
        const KvPolicy& policy = *p->plan->policies[stage];
        ViewStorage storage;
        LayerView view = rows.view(p->heads[layer], policy.needs(n_tokens()), storage);
        if (stage == 0 && !p->step) view.known_scores = &known_scores;
        if (p->plan->budget_bytes > 0)
          view.keep_rows = rows_in_budget(*p->plan, config_, *codec_of(*p->plan));
        p->decided.push_back(policy.select(view));
      }
    }
    for (Progress* p : active) {
      p->plan->policies[stage]->settle(p->decided);
      take_decisions(*p);
    }
  }

  CompressedCache finish(const Progress& p) const {
    CompressedCache result{build_cache(p), {}, p.scores, {}};
    if (p.step) {
      p.step->adopt_pages(result.cache);
      result.cache.set_step(p.step->copy());
    }
    for (const auto& layer : p.heads) {
      auto& kept = result.kept.emplace_back();
      for (const HeadState& head : layer) kept.push_back(head.rows);
    }
    for (const PolicyPtr& policy : p.plan->policies) {
      const std::string note = policy->note(prompt_.cache.n_tokens());
      if (!note.empty()) result.notes.push_back(note);
    }
    return result;
  }

 private:
  int n_tokens() const { return prompt_.cache.n_tokens(); }
  // Policies leave layers with a window alone.
  bool slides(int layer) const { return prompt_.cache.window(layer) > 0; }

  // The rows that the step's rules hold after the prompt.
  void keep_for_step(Progress& p) const {
    p.step = std::make_shared<HeavyRows>(config_, codec_of(*p.plan), p.plan->step,
                                         prompt_.attention_received, n_tokens());
    for (int layer = 0; layer < config_.n_layers; ++layer) {
      for (int h = 0; h < config_.n_kv_heads; ++h) p.heads[layer][h].rows = p.step->held(layer, h);
    }
  }

  CodecPtr codec_of(const CompressionPlan& plan) const {
    return plan.codec ? plan.codec : prompt_.cache.codec_ptr();
  }

  // What the policy kept, as indices of prompt rows; its scores likewise (rows that an earlier
  // policy removed: NaN).
  void take_decisions(Progress& p) const {
    bool any_scores = false;
    for (const LayerKeep& keep : p.decided) {
      for (const std::vector<float>& s : keep.scores) any_scores |= !s.empty();
    }
    if (any_scores)
      p.scores.assign(config_.n_layers, std::vector<std::vector<float>>(config_.n_kv_heads));
    size_t next = 0;
    for (int layer = 0; layer < config_.n_layers; ++layer) {
      if (slides(layer)) continue;
      LayerKeep& keep = p.decided[next++];
      KV_CHECK(keep.rows.size() == static_cast<size_t>(config_.n_kv_heads));
      for (int h = 0; h < config_.n_kv_heads; ++h) {
        HeadState& head = p.heads[layer][h];
        if (any_scores && h < static_cast<int>(keep.scores.size()) && !keep.scores[h].empty()) {
          std::vector<float>& scores = p.scores[layer][h];
          scores.assign(n_tokens(), std::numeric_limits<float>::quiet_NaN());
          for (size_t r = 0; r < head.rows.size(); ++r) scores[head.rows[r]] = keep.scores[h][r];
        }
        take_rows(keep, h, head);
      }
    }
  }

  void take_rows(LayerKeep& keep, int h, HeadState& head) const {
    const int head_dim = config_.head_dim;
    HeadState kept;
    for (const int32_t r : keep.rows[h]) {
      KV_CHECK(r >= 0 && r < static_cast<int>(head.rows.size()), "row {} of {}", r,
               head.rows.size());
      KV_CHECK(kept.rows.empty() || head.rows[r] > kept.rows.back(), "rows must rise");
      kept.rows.push_back(head.rows[r]);
      if (!head.values.empty()) {
        const auto values = head.values.begin() + static_cast<int64_t>(r) * head_dim;
        kept.values.insert(kept.values.end(), values, values + head_dim);
      }
    }
    KV_CHECK(!kept.rows.empty(), "a head must keep a row");
    if (!keep.values.empty() && !keep.values[h].empty()) kept.values = std::move(keep.values[h]);
    KV_CHECK(kept.values.empty() || kept.values.size() == kept.rows.size() * head_dim);
    const auto join = [&](const std::vector<std::vector<uint8_t>>& more,
                          std::vector<uint8_t> channels) {
      if (more.empty()) return channels;
      channels.resize(head_dim, 0);
      for (int d = 0; d < head_dim; ++d) channels[d] |= more[h][d];
      return channels;
    };
    kept.dropped_channels = join(keep.dropped_channels, std::move(head.dropped_channels));
    kept.removed_channels = join(keep.removed_channels, std::move(head.removed_channels));
    head = std::move(kept);
  }

  KvCache build_cache(const Progress& p) const {
    const CodecPtr codec = codec_of(*p.plan);
    const bool same_codec = codec->spec() == prompt_.cache.codec().spec();
    KV_CHECK(same_codec || !(codec->acts_on_prompt() || prompt_.cache.codec().acts_on_prompt()),
             "{} after a prompt in {}", codec->spec(), prompt_.cache.codec().spec());
    KvCache cache(config_, codec, prompt_.cache.codec_ptr());
    const Positions positions = positions_of(*p.plan);
    std::map<Rows, std::shared_ptr<const Rows>>
        lists;  // heads that kept the same rows share one list
    const size_t n_first = p.heads[0][0].rows.size();
    for (int layer = 0; layer < config_.n_layers; ++layer) {
      for (int h = 0; h < config_.n_kv_heads; ++h) {
        if (slides(layer)) {
          KvCache::Head& head = cache.head(layer, h);
          head.n_rows = n_tokens();
          head.first_row = prompt_.cache.head(layer, h).first_row;
          continue;
        }
        const HeadState& state = p.heads[layer][h];
        const Rows& rows = state.rows;
        if (positions == Positions::kCanary && rows.size() != n_first) {
          throw_usage(
              "positions=canary needs the same number of rows in every head: layer {} head {} "
              "keeps {}, layer 0 "
              "head 0 keeps {}",
              layer, h, rows.size(), n_first);
        }
        place_rows(cache.head(layer, h), rows, positions, p.plan->decode != nullptr, lists);
        if (!state.removed_channels.empty()) narrow_keys(layer, state, cache.head(layer, h));
        if (state.dropped_channels.empty()) continue;
        cache.head(layer, h).dropped_channels =
            std::make_shared<const std::vector<uint8_t>>(state.dropped_channels);
        cache.head(layer, h).masked_rows = static_cast<int>(rows.size());
      }
    }
    parallel_for(static_cast<int64_t>(config_.n_layers) * config_.n_kv_heads, [&](int64_t i) {
      const int layer = static_cast<int>(i / config_.n_kv_heads),
                h = static_cast<int>(i % config_.n_kv_heads);
      const HeadState& state = p.heads[layer][h];
      KvCache::Head& head = cache.head(layer, h);
      const bool whole = static_cast<int>(state.rows.size()) == n_tokens() &&
                         state.values.empty() && state.removed_channels.empty();
      if (same_codec && (whole || slides(layer))) {
        head.pages = prompt_.cache.head(layer, h).pages;
      } else if (same_codec && state.removed_channels.empty()) {
        move_codes(layer, h, state, *codec, head.pages);
      } else if (codec->keeps_residual()) {
        copy_rows(layer, h, state, *codec, prompt_.cache.codec(), head.key_channels, head.plain);
      } else {
        copy_rows(layer, h, state, *codec, *codec, head.key_channels, head.pages);
      }
    });
    cache.advance(n_tokens());
    if (p.plan->decode) {
      cache.set_cuts(CutState(config_, within_budget(p.plan->decode, *p.plan, config_, *codec),
                              positions, prompt_, n_tokens()));
    }
    return cache;
  }

  // goes_on: later cuts will want to know which tokens the rows were.
  void place_rows(KvCache::Head& head, const Rows& rows, Positions positions, bool goes_on,
                  std::map<Rows, std::shared_ptr<const Rows>>& lists) const {
    const int kept = static_cast<int>(rows.size());
    head.n_rows = kept;
    head.shift = positions == Positions::kOriginal ? 0 : kept - n_tokens();
    head.run_offset = n_tokens() + head.shift - kept;  // the next row is the next token
    const bool contiguous = positions == Positions::kContiguous;
    if (kept == n_tokens() || (contiguous && !goes_on)) return;
    std::shared_ptr<const Rows>& list = lists[rows];
    if (!list) list = std::make_shared<const Rows>(rows);
    (contiguous ? head.originals : head.listed) = list;
  }

  // Which channels the head's keys keep; its later rows go to pages of their own.
  void narrow_keys(int layer, const HeadState& state, KvCache::Head& head) const {
    const int half = prompt_.rope->at(layer).rotary_dim() / 2;
    std::vector<int32_t> channels;
    for (int d = 0; d < config_.head_dim; ++d) {
      const bool removed = state.removed_channels[d] != 0;
      const bool in_pair = d < 2 * half;
      KV_CHECK(!removed || in_pair, "channel {} has no partner", d);
      KV_CHECK(!in_pair || removed == (state.removed_channels[(d + half) % (2 * half)] != 0),
               "channel {} without its partner", d);
      if (!removed) channels.push_back(d);
    }
    head.key_channels = std::make_shared<const std::vector<int32_t>>(std::move(channels));
    head.coded = {head.n_rows, head.n_rows};
    head.plain.resize((head.n_rows + kTile - 1) / kTile);
  }

  // Rows of one head that are to be copied: where a layer's old tiles are gone, all of the others.
  Rows rows_to_copy(int layer, int h, const HeadState& state) const {
    if (!slides(layer)) return state.rows;
    const int first = prompt_.cache.head(layer, h).first_row / kTile * kTile;
    Rows rows(n_tokens() - first);
    std::iota(rows.begin(), rows.end(), first);
    return rows;
  }

  // Kept rows of one head, moved into pages of their own, as `codec` stores them: keys rotated where
  // the cache's codec stores rotated ones, and without the channels that are removed.
  void copy_rows(int layer, int h, const HeadState& state, const KvCodec& cache_codec,
                 const KvCodec& codec,
                 const std::shared_ptr<const std::vector<int32_t>>& key_channels,
                 std::vector<PageRef>& pages) const {
    const Rows rows = rows_to_copy(layer, h, state);
    if (slides(layer)) pages.resize(static_cast<size_t>(rows[0] / kTile));
    const KvCache::Head& source = prompt_.cache.head(layer, h);
    const int head_dim = config_.head_dim, width = padded(head_dim);
    const std::vector<int32_t>* channels = key_channels.get();
    const int key_width = channels != nullptr ? static_cast<int>(channels->size()) : head_dim;
    std::vector<float> key_scratch(width * kTile), value_scratch(width * kTile),
        keys(head_dim * kTile), values(head_dim * kTile);
    const float *key_tile = nullptr, *value_tile = nullptr;
    int loaded = -1;
    for (size_t first = 0; first < rows.size(); first += kTile) {
      const int n = static_cast<int>(std::min<size_t>(kTile, rows.size() - first));
      for (int r = 0; r < n; ++r) {
        const int tile = rows[first + r] / kTile, at = rows[first + r] % kTile;
        if (tile != loaded) {
          const int in_tile = std::min(kTile, source.n_rows - tile * kTile);
          key_tile = prompt_.cache.load_keys(source, tile, in_tile, {}, key_scratch.data());
          value_tile = prompt_.cache.load_values(source, tile, in_tile, value_scratch.data());
          loaded = tile;
        }
        for (int d = 0; d < head_dim; ++d) keys[r * head_dim + d] = key_tile[d * kTile + at];
        const float* value = state.values.empty() ? value_tile + at * width
                                                  : state.values.data() + (first + r) * head_dim;
        std::copy_n(value, head_dim, values.data() + r * head_dim);
        float* key = keys.data() + r * head_dim;
        if (cache_codec.stores_rotated_keys()) rotate(layer, key, rows[first + r]);
        for (int i = 0; channels != nullptr && i < key_width; ++i) key[i] = key[(*channels)[i]];
      }
      PageRef page =
          PageRef::allocate(codec.key_tile_bytes(key_width), codec.value_tile_bytes(head_dim));
      codec.encode_keys(keys.data(), head_dim, 0, n, key_width, page.writable_keys());
      codec.encode_values(values.data(), head_dim, 0, n, head_dim, page.writable_values());
      pages.push_back(std::move(page));
    }
  }

  // The same where the prompt is in that codec already: rows move as they are stored.
  void move_codes(int layer, int h, const HeadState& state, const KvCodec& codec,
                  std::vector<PageRef>& pages) const {
    const Rows& rows = state.rows;
    const KvCache::Head& source = prompt_.cache.head(layer, h);
    const int head_dim = config_.head_dim;
    for (size_t i = 0; i < rows.size(); ++i) {
      const int to = static_cast<int>(i % kTile), from = rows[i] % kTile;
      if (to == 0) {
        pages.push_back(
            PageRef::allocate(codec.key_tile_bytes(head_dim), codec.value_tile_bytes(head_dim)));
      }
      const PageRef& page = source.pages[rows[i] / kTile];
      codec.copy_key(page.keys(), from, head_dim, pages.back().writable_keys(), to);
      if (state.values.empty()) {
        codec.copy_value(page.values(), from, head_dim, pages.back().writable_values(), to);
      } else {  // a policy made new ones
        codec.encode_values(state.values.data() + i * head_dim, head_dim, to, 1, head_dim,
                            pages.back().writable_values());
      }
    }
  }

  void rotate(int layer, float* key, int position) const {
    const RopeTable& rope = prompt_.rope->at(layer);
    kernels().rotate_row(key, rope.cos_row(position), rope.sin_row(position), rope.rotary_dim());
  }

  const Model& model_;
  const ModelConfig& config_;
  const PrefilledPrompt& prompt_;
};

// Plans whose rules acted on the prompt: nothing is left to do.
std::vector<CompressedCache> fork_all(const KvCache& cache,
                                      const std::vector<const CompressionPlan*>& plans) {
  std::vector<CompressedCache> results;
  for (const CompressionPlan* plan : plans) {
    KV_CHECK(plan->step != nullptr && plan->step->spec == cache.step()->rules().spec);
    CompressedCache result{cache.fork(), {}, {}, {}};
    for (int layer = 0; layer < cache.n_layers(); ++layer) {
      auto& kept = result.kept.emplace_back();
      for (int h = 0; h < cache.n_kv_heads(); ++h) kept.push_back(cache.step()->held(layer, h));
    }
    const int64_t heads = int64_t{cache.n_layers()} * cache.n_kv_heads();
    const int64_t seen = cache.step()->rows_seen() / heads;
    const auto held = static_cast<int64_t>(result.kept[0][0].size());
    if (seen < held)
      result.notes.push_back(
          fmt::format("a query sees at most {} of the {} rows held", seen, held));
    results.push_back(std::move(result));
  }
  return results;
}

// Plans that cut the prompt while it came: what is left is theirs, and only later cuts are to be set.
std::vector<CompressedCache> after_cuts(const ModelConfig& config, const PrefilledPrompt& prompt,
                                        const std::vector<const CompressionPlan*>& plans) {
  std::vector<CompressedCache> results;
  for (const CompressionPlan* plan : plans) {
    KV_CHECK(plan->prefill != nullptr);
    CompressedCache result{prompt.cache.fork(), {}, {}, {}};
    KvCache& cache = result.cache;
    const auto decode = within_budget(plan->decode, *plan, config, cache.codec());
    cache.set_cuts(decode ? CutState(config, decode, positions_of(*plan), prompt, cache.n_tokens())
                          : CutState());
    for (int layer = 0; layer < cache.n_layers(); ++layer) {
      auto& kept = result.kept.emplace_back();
      for (int h = 0; h < cache.n_kv_heads(); ++h) {
        const KvCache::Head& head = cache.head(layer, h);
        Rows& rows = kept.emplace_back();
        for (int r = head.first_row; r < head.n_rows; ++r)
          rows.push_back(head.original_position(r));
      }
    }
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace

void KvNeeds::join(const KvNeeds& other) {
  window_queries = std::max(window_queries, other.window_queries);
  keys |= other.keys;
  raw_keys |= other.raw_keys;
  values |= other.values;
  for (const QueryStatisticsNeeds& wanted : other.query_statistics) {
    const auto same = std::find_if(
        query_statistics.begin(), query_statistics.end(),
        [&](const QueryStatisticsNeeds& mine) { return mine.first_token == wanted.first_token; });
    if (same == query_statistics.end()) {
      query_statistics.push_back(wanted);
    } else {
      same->covariance |= wanted.covariance;
    }
  }
  attention_received |= other.attention_received;
  output_norms |= other.output_norms;
  for (const RepeatNeeds& wanted : other.repeats) {
    if (std::find(repeats.begin(), repeats.end(), wanted) == repeats.end())
      repeats.push_back(wanted);
  }
}

KvNeeds needs_of(const std::vector<const CompressionPlan*>& plans, int n_tokens) {
  KvNeeds all;
  for (const CompressionPlan* plan : plans) {
    for (const PolicyPtr& policy : plan->policies) all.join(policy->needs(n_tokens));
    if (plan->decode) all.join(plan->decode->policy->needs(n_tokens));
    const HeavyRules* heavy = plan->step ? std::get_if<HeavyRules>(&plan->step->rules) : nullptr;
    all.attention_received |= heavy != nullptr && heavy->prefill_scores;
  }
  return all;
}

Positions positions_of(const CompressionPlan& plan) {
  Positions result = Positions::kOriginal;
  for (const PolicyPtr& policy : plan.policies) {
    if (policy->positions() != Positions::kOriginal) result = policy->positions();
  }
  return result;
}

CodecPtr prompt_codec(const CompressionPlan& plan, const CodecPtr& kv_dtype) {
  const bool own =
      plan.codec != nullptr && (plan.codec->acts_on_prompt() || prompt_rules(plan) || plan.prefill);
  return own ? plan.codec : kv_dtype;
}

StepPtr prompt_rules(const CompressionPlan& plan) {
  return plan.step != nullptr && plan.step->acts_on_prompt() ? plan.step : nullptr;
}

std::string prompt_kind(const CompressionPlan& plan, const CodecPtr& kv_dtype) {
  const StepPtr rules = prompt_rules(plan);
  const std::string codec = prompt_codec(plan, kv_dtype)->spec();
  if (rules) return fmt::format("{} {}", codec, rules->spec);
  return plan.prefill ? fmt::format("{} {}", codec, plan.policies.at(0)->spec()) : codec;
}

std::shared_ptr<const RepeatedCut> prompt_cut(const CompressionPlan& plan,
                                              const ModelConfig& config, const CodecPtr& kv_dtype) {
  return within_budget(plan.prefill, plan, config, *prompt_codec(plan, kv_dtype));
}

std::vector<CompressedCache> compress_all(const Model& model, const PrefilledPrompt& prompt,
                                          const std::vector<const CompressionPlan*>& plans) {
  if (prompt.cache.step() != nullptr) return fork_all(prompt.cache, plans);
  if (prompt.cache.cuts().active()) return after_cuts(model.config, prompt, plans);
  const Compressor compressor(model, prompt);
  std::vector<Progress> progress = compressor.start(plans);
  size_t stages = 0;
  for (const CompressionPlan* plan : plans) stages = std::max(stages, plan->policies.size());
  for (size_t stage = 0; stage < stages; ++stage) compressor.run_stage(progress, stage);
  std::vector<CompressedCache> results;
  for (const Progress& p : progress) results.push_back(compressor.finish(p));
  return results;
}

CompressedCache compress(const Model& model, const PrefilledPrompt& prompt,
                         const CompressionPlan& plan) {
  return std::move(compress_all(model, prompt, {&plan}).front());
}

const char* positions_name(Positions p) {
  switch (p) {
    case Positions::kContiguous:
      return "contiguous";
    case Positions::kCanary:
      return "canary";
    default:
      return "original";
  }
}

}  // namespace kv
