#include "engine/compression.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "engine/error.h"
#include "engine/rope.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

using Rows = std::vector<int32_t>;    // indices of prompt rows, rising
using LayerRows = std::vector<Rows>;  // by KV head

// The rotation that undoes `tile`, in scratch of the same size; yarn's factor is taken out too.
RopeTile inverse(const RopeTile& tile, float factor, float* scratch) {
  const int n = tile.rotary_dim / 2 * kTile;
  const float scale = 1.0f / (factor * factor);
  float *cos = scratch, *sin = scratch + n;
  for (int i = 0; i < n; ++i) {
    cos[i] = tile.cos[i] * scale;
    sin[i] = -tile.sin[i] * scale;
  }
  return {cos, sin, tile.rotary_dim};
}

// The rows of one layer as policies see them: keys rotated at their original positions, values, for
// all KV heads.
class LayerRowsAsFloat {
 public:
  LayerRowsAsFloat(const KvCache& cache, const RopeTable& rope, int layer, const KvNeeds& needs)
      : head_dim_(cache.head_dim()), width_(padded(cache.head_dim())), n_tokens_(cache.n_tokens()) {
    const int n_tiles = (n_tokens_ + kTile - 1) / kTile, n_heads = cache.n_kv_heads();
    const std::vector<float> key_tiles(static_cast<size_t>(n_tiles) * head_dim_ * kTile);
    if (needs.keys) keys_.assign(n_heads, key_tiles);
    if (needs.raw_keys) raw_keys_.assign(n_heads, key_tiles);
    if (needs.values)
      values_.assign(n_heads, std::vector<float>(static_cast<size_t>(n_tiles) * kTile * width_));
    parallel_for(static_cast<int64_t>(n_heads) * n_tiles, [&](int64_t i) {
      load_tile(cache, rope, layer, static_cast<int>(i / n_tiles), static_cast<int>(i % n_tiles));
    });
  }

  const std::vector<float>& keys(int h) const { return keys_[h]; }  // (tiles, head_dim, kTile)
  const std::vector<float>& raw_keys(int h) const { return raw_keys_[h]; }  // the same before RoPE
  const std::vector<float>& values(int h) const {
    return values_[h];
  }  // (n_rows, padded(head_dim))

  // The same for a subset of the rows, packed again.
  std::vector<float> gather_keys(const std::vector<float>& tiles, const Rows& rows) const {
    std::vector<float> out((rows.size() + kTile - 1) / kTile * head_dim_ * kTile);
    for (size_t r = 0; r < rows.size(); ++r) {
      const float* from =
          tiles.data() + static_cast<size_t>(rows[r] / kTile) * head_dim_ * kTile + rows[r] % kTile;
      float* to = out.data() + r / kTile * head_dim_ * kTile + r % kTile;
      for (int d = 0; d < head_dim_; ++d) to[d * kTile] = from[d * kTile];
    }
    return out;
  }
  std::vector<float> gather_values(int h, const Rows& rows) const {
    std::vector<float> out(rows.size() * width_);
    for (size_t r = 0; r < rows.size(); ++r) {
      std::copy_n(values_[h].data() + static_cast<size_t>(rows[r]) * width_, width_,
                  out.data() + r * width_);
    }
    return out;
  }

 private:
  void load_tile(const KvCache& cache, const RopeTable& rope, int layer, int h, int tile) {
    const KvCache::Head& head = cache.head(layer, h);
    const int n = std::min(kTile, head.n_rows - tile * kTile);
    std::vector<float> scratch(width_ * kTile), angles(width_ * kTile);
    if (!keys_.empty()) {
      const RopeTile turn =
          cache.codec().stores_rotated_keys() ? RopeTile{} : rope.tile(head, tile, angles.data());
      const float* keys = cache.load_keys(head, tile, n, turn, scratch.data());
      std::copy_n(keys, head_dim_ * kTile,
                  keys_[h].data() + static_cast<size_t>(tile) * head_dim_ * kTile);
    }
    if (!raw_keys_.empty()) {
      const RopeTile back = cache.codec().stores_rotated_keys()
                                ? inverse(rope.tile(head, tile, angles.data()),
                                          rope.attention_factor(), angles.data())
                                : RopeTile{};
      const float* keys = cache.load_keys(head, tile, n, back, scratch.data());
      std::copy_n(keys, head_dim_ * kTile,
                  raw_keys_[h].data() + static_cast<size_t>(tile) * head_dim_ * kTile);
    }
    if (!values_.empty()) {
      const float* values = cache.load_values(head, tile, n, scratch.data());
      std::copy_n(values, n * width_,
                  values_[h].data() + static_cast<size_t>(tile) * kTile * width_);
    }
  }

  int head_dim_, width_, n_tokens_;
  std::vector<std::vector<float>> keys_, raw_keys_, values_;
};

// One plan on its way through its policies.
struct Progress {
  const CompressionPlan* plan;
  std::vector<LayerRows> rows;                          // (n_layers)(n_kv_heads) what is left
  std::vector<std::vector<std::vector<float>>> scores;  // by prompt row
  std::vector<LayerKeep> decided;                       // by the policy at hand
};

class Compressor {
 public:
  Compressor(const Model& model, const PrefilledPrompt& prompt)
      : config_(model.config), prompt_(prompt) {}

  std::vector<Progress> start(const std::vector<const CompressionPlan*>& plans) const {
    Rows all(prompt_.cache.n_tokens());
    std::iota(all.begin(), all.end(), 0);
    std::vector<Progress> progress;
    for (const CompressionPlan* plan : plans) {
      progress.push_back(
          {plan,
           std::vector<LayerRows>(config_.n_layers, LayerRows(config_.n_kv_heads, all)),
           {},
           {}});
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
      const LayerRowsAsFloat rows(prompt_.cache, *prompt_.rope, layer, needs);
      for (Progress* p : active)
        p->decided.push_back(decide(*p, *p->plan->policies[stage], layer, rows));
    }
    for (Progress* p : active) {
      p->plan->policies[stage]->settle(p->decided);
      take_decisions(*p);
    }
  }

  CompressedCache finish(const Progress& p) const {
    CompressedCache result{build_cache(p), p.rows, p.scores, {}};
    for (const PolicyPtr& policy : p.plan->policies) {
      const std::string note = policy->note(prompt_.cache.n_tokens());
      if (!note.empty()) result.notes.push_back(note);
    }
    return result;
  }

 private:
  int n_tokens() const { return prompt_.cache.n_tokens(); }

  LayerKeep decide(const Progress& p, const KvPolicy& policy, int layer,
                   const LayerRowsAsFloat& rows) const {
    const KvNeeds needs = policy.needs(n_tokens());
    LayerView view;
    view.layer = layer;
    view.n_layers = config_.n_layers;
    view.n_heads = config_.n_heads;
    view.n_kv_heads = config_.n_kv_heads;
    view.head_dim = config_.head_dim;
    view.n_tokens = n_tokens();
    view.rope_factor = prompt_.rope->attention_factor();
    view.inv_freq = prompt_.rope->inv_freq();
    std::vector<std::vector<float>> gathered;  // keeps what the view points at alive
    gathered.reserve(3 * config_.n_kv_heads);
    for (int h = 0; h < config_.n_kv_heads; ++h) {
      const Rows& left = p.rows[layer][h];
      const bool all = static_cast<int>(left.size()) == n_tokens();
      LayerView::HeadRows head;
      head.n_rows = static_cast<int>(left.size());
      head.positions = left;
      const auto key_tiles = [&](const std::vector<float>& tiles) {
        return all ? tiles.data() : gathered.emplace_back(rows.gather_keys(tiles, left)).data();
      };
      if (needs.keys) head.keys = key_tiles(rows.keys(h));
      if (needs.raw_keys) head.raw_keys = key_tiles(rows.raw_keys(h));
      if (needs.values) {
        head.values =
            all ? rows.values(h).data() : gathered.emplace_back(rows.gather_values(h, left)).data();
      }
      view.heads.push_back(head);
    }
    const std::vector<float> window =
        window_queries(layer, std::min(needs.window_queries, n_tokens()));
    view.n_window = std::min(needs.window_queries, n_tokens());
    view.window_queries = view.n_window > 0 ? window.data() : nullptr;
    if (!needs.query_statistics.empty()) {
      const QueryStatistics& statistics = statistics_from(needs.query_statistics.front());
      const size_t at = static_cast<size_t>(layer) * config_.n_heads * config_.head_dim;
      view.query_mean = statistics.mean.data() + at;
      view.query_covariance = statistics.covariance.data() + at * config_.head_dim;
    }
    return policy.select(view);
  }

  const QueryStatistics& statistics_from(int first_token) const {
    for (const QueryStatistics& s : prompt_.query_statistics) {
      if (s.first_token == first_token) return s;
    }
    KV_CHECK(false, "no statistics from token {}", first_token);
    return prompt_.query_statistics.front();
  }

  // The last n of the recorded queries of a layer: (n_heads, n, head_dim).
  std::vector<float> window_queries(int layer, int n) const {
    const QueryWindow& recorded = prompt_.window;
    KV_CHECK(n <= recorded.n_window, "{} queries wanted, {} recorded", n, recorded.n_window);
    std::vector<float> out(static_cast<size_t>(config_.n_heads) * n * config_.head_dim);
    for (int h = 0; h < config_.n_heads; ++h) {
      const size_t from = ((static_cast<size_t>(layer) * config_.n_heads + h) * recorded.n_window +
                           (recorded.n_window - n)) *
                          config_.head_dim;
      std::copy_n(recorded.queries.data() + from, static_cast<size_t>(n) * config_.head_dim,
                  out.data() + static_cast<size_t>(h) * n * config_.head_dim);
    }
    return out;
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
    for (int layer = 0; layer < config_.n_layers; ++layer) {
      LayerKeep& keep = p.decided[layer];
      KV_CHECK(keep.rows.size() == static_cast<size_t>(config_.n_kv_heads));
      for (int h = 0; h < config_.n_kv_heads; ++h) {
        Rows& left = p.rows[layer][h];
        if (any_scores && h < static_cast<int>(keep.scores.size()) && !keep.scores[h].empty()) {
          std::vector<float>& scores = p.scores[layer][h];
          scores.assign(n_tokens(), std::numeric_limits<float>::quiet_NaN());
          for (size_t r = 0; r < left.size(); ++r) scores[left[r]] = keep.scores[h][r];
        }
        Rows kept;
        kept.reserve(keep.rows[h].size());
        for (int32_t r : keep.rows[h]) {
          KV_CHECK(r >= 0 && r < static_cast<int>(left.size()), "row {} of {}", r, left.size());
          KV_CHECK(kept.empty() || left[r] > kept.back(), "rows must rise");
          kept.push_back(left[r]);
        }
        KV_CHECK(!kept.empty(), "a head must keep a row");
        left = std::move(kept);
      }
    }
  }

  // Where the kept rows stand: the last policy that asks for something other than the original
  // positions decides.
  static Positions positions_of(const CompressionPlan& plan) {
    Positions result = Positions::kOriginal;
    for (const PolicyPtr& policy : plan.policies) {
      if (policy->positions() != Positions::kOriginal) result = policy->positions();
    }
    return result;
  }

  KvCache build_cache(const Progress& p) const {
    const CodecPtr codec = p.plan->codec ? p.plan->codec : prompt_.cache.codec_ptr();
    const bool same_codec = codec->spec() == prompt_.cache.codec().spec();
    KV_CHECK(same_codec || !(codec->acts_on_prompt() || prompt_.cache.codec().acts_on_prompt()),
             "{} after a prompt in {}", codec->spec(), prompt_.cache.codec().spec());
    KvCache cache(config_, codec, prompt_.cache.codec_ptr());
    const Positions positions = positions_of(*p.plan);
    std::map<Rows, std::shared_ptr<const Rows>>
        lists;  // heads that kept the same rows share one list
    const size_t n_first = p.rows[0][0].size();
    for (int layer = 0; layer < config_.n_layers; ++layer) {
      for (int h = 0; h < config_.n_kv_heads; ++h) {
        const Rows& rows = p.rows[layer][h];
        if (positions == Positions::kCanary && rows.size() != n_first) {
          throw_usage(
              "positions=canary needs the same number of rows in every head: layer {} head {} "
              "keeps {}, layer 0 "
              "head 0 keeps {}",
              layer, h, rows.size(), n_first);
        }
        place_rows(cache.head(layer, h), rows, positions, lists);
      }
    }
    parallel_for(static_cast<int64_t>(config_.n_layers) * config_.n_kv_heads, [&](int64_t i) {
      const int layer = static_cast<int>(i / config_.n_kv_heads),
                h = static_cast<int>(i % config_.n_kv_heads);
      const Rows& rows = p.rows[layer][h];
      KvCache::Head& head = cache.head(layer, h);
      if (same_codec && static_cast<int>(rows.size()) == n_tokens()) {
        head.pages = prompt_.cache.head(layer, h).pages;
      } else if (same_codec && codec->acts_on_prompt()) {
        move_codes(layer, h, rows, *codec, head.pages);
      } else if (codec->keeps_residual()) {
        copy_rows(layer, h, rows, *codec, prompt_.cache.codec(), head.plain);
      } else {
        copy_rows(layer, h, rows, *codec, *codec, head.pages);
      }
    });
    cache.advance(n_tokens());
    return cache;
  }

  void place_rows(KvCache::Head& head, const Rows& rows, Positions positions,
                  std::map<Rows, std::shared_ptr<const Rows>>& lists) const {
    const int kept = static_cast<int>(rows.size());
    head.n_rows = kept;
    head.shift = positions == Positions::kOriginal ? 0 : kept - n_tokens();
    head.run_offset = n_tokens() + head.shift - kept;  // the next row is the next token
    if (kept == n_tokens() || positions == Positions::kContiguous) return;
    std::shared_ptr<const Rows>& list = lists[rows];
    if (!list) list = std::make_shared<const Rows>(rows);
    head.listed = list;
  }

  // Kept rows of one head, moved into pages of their own, as `codec` stores them; keys rotated where
  // the cache's codec stores rotated ones.
  void copy_rows(int layer, int h, const Rows& rows, const KvCodec& cache_codec,
                 const KvCodec& codec, std::vector<PageRef>& pages) const {
    const KvCache::Head& source = prompt_.cache.head(layer, h);
    const int head_dim = config_.head_dim, width = padded(head_dim);
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
        std::copy_n(value_tile + at * width, head_dim, values.data() + r * head_dim);
        if (cache_codec.stores_rotated_keys()) rotate(keys.data() + r * head_dim, rows[first + r]);
      }
      PageRef page =
          PageRef::allocate(codec.key_tile_bytes(head_dim), codec.value_tile_bytes(head_dim));
      codec.encode_keys(keys.data(), head_dim, 0, n, head_dim, page.writable_keys());
      codec.encode_values(values.data(), head_dim, 0, n, head_dim, page.writable_values());
      pages.push_back(std::move(page));
    }
  }

  // The same where the prompt holds codes already: they move as they are.
  void move_codes(int layer, int h, const Rows& rows, const KvCodec& codec,
                  std::vector<PageRef>& pages) const {
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
      codec.copy_value(page.values(), from, head_dim, pages.back().writable_values(), to);
    }
  }

  void rotate(float* key, int position) const {
    const RopeTable& rope = *prompt_.rope;
    kernels().rotate_row(key, rope.cos_row(position), rope.sin_row(position), rope.rotary_dim());
  }

  const ModelConfig& config_;
  const PrefilledPrompt& prompt_;
};

}  // namespace

void KvNeeds::join(const KvNeeds& other) {
  window_queries = std::max(window_queries, other.window_queries);
  keys |= other.keys;
  raw_keys |= other.raw_keys;
  values |= other.values;
  for (const int first : other.query_statistics) {
    if (std::find(query_statistics.begin(), query_statistics.end(), first) ==
        query_statistics.end())
      query_statistics.push_back(first);
  }
}

KvNeeds needs_of(const std::vector<const CompressionPlan*>& plans, int n_tokens) {
  KvNeeds all;
  for (const CompressionPlan* plan : plans) {
    for (const PolicyPtr& policy : plan->policies) all.join(policy->needs(n_tokens));
  }
  return all;
}

CodecPtr prompt_codec(const CompressionPlan& plan, const CodecPtr& kv_dtype) {
  return plan.codec != nullptr && plan.codec->acts_on_prompt() ? plan.codec : kv_dtype;
}

std::vector<CompressedCache> compress_all(const Model& model, const PrefilledPrompt& prompt,
                                          const std::vector<const CompressionPlan*>& plans) {
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
