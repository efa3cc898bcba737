#include "engine/layer_rows.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/output_norms.h"
#include "engine/rope.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

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

bool counts_as_zero(const HeadState& state, int channel) {
  return (!state.dropped_channels.empty() && state.dropped_channels[channel] != 0) ||
         (!state.removed_channels.empty() && state.removed_channels[channel] != 0);
}

}  // namespace

LayerRows::LayerRows(const Model& model, const PrefilledPrompt& prompt, int layer,
                     const KvNeeds& needs)
    : model_(model),
      config_(model.config),
      prompt_(prompt),
      layer_(layer),
      width_(padded(config_.head_dim)),
      n_tokens_(prompt.cache.n_tokens()) {
  const int n_tiles = (n_tokens_ + kTile - 1) / kTile, n_heads = config_.n_kv_heads;
  const std::vector<float> key_tiles(static_cast<size_t>(n_tiles) * config_.head_dim * kTile);
  if (needs.keys) keys_.assign(n_heads, key_tiles);
  if (needs.raw_keys) raw_keys_.assign(n_heads, key_tiles);
  if (needs.values || needs.output_norms) {
    values_.assign(n_heads, std::vector<float>(static_cast<size_t>(n_tiles) * kTile * width_));
  }
  parallel_for(static_cast<int64_t>(n_heads) * n_tiles, [&](int64_t i) {
    load_tile(static_cast<int>(i / n_tiles), static_cast<int>(i % n_tiles));
  });
  if (needs.output_norms) compute_output_norms();
}

void LayerRows::load_tile(int kv_head, int tile) {
  const KvCache& cache = prompt_.cache;
  const bool rotated = cache.codec().stores_rotated_keys();
  const KvCache::Head& head = prompt_.cache.head(layer_, kv_head);
  const int head_dim = config_.head_dim, n = std::min(kTile, head.n_rows - tile * kTile);
  const size_t key_offset = static_cast<size_t>(tile) * head_dim * kTile;
  std::vector<float> scratch(width_ * kTile), angles(width_ * kTile);
  if (!keys_.empty()) {
    const RopeTile turn = rotated ? RopeTile{} : prompt_.rope->tile(head, tile, angles.data());
    const float* keys = cache.load_keys(head, tile, n, turn, scratch.data());
    std::copy_n(keys, head_dim * kTile, keys_[kv_head].data() + key_offset);
  }
  if (!raw_keys_.empty()) {
    const RopeTile back = rotated ? inverse(prompt_.rope->tile(head, tile, angles.data()),
                                            prompt_.rope->attention_factor(), angles.data())
                                  : RopeTile{};
    const float* keys = cache.load_keys(head, tile, n, back, scratch.data());
    std::copy_n(keys, head_dim * kTile, raw_keys_[kv_head].data() + key_offset);
  }
  if (!values_.empty()) {
    const float* values = cache.load_values(head, tile, n, scratch.data());
    std::copy_n(values, n * width_,
                values_[kv_head].data() + static_cast<size_t>(tile) * kTile * width_);
  }
}

void LayerRows::compute_output_norms() {
  const OutputNorms norms(model_, layer_);
  output_norms_.assign(config_.n_heads, std::vector<float>(n_tokens_));
  const int n_tiles = (n_tokens_ + kTile - 1) / kTile;
  parallel_for(static_cast<int64_t>(config_.n_heads) * n_tiles, [&](int64_t i) {
    const int h = static_cast<int>(i / n_tiles), first = static_cast<int>(i % n_tiles) * kTile;
    const float* values = values_[h / config_.group()].data() + static_cast<size_t>(first) * width_;
    norms.rows(h, values, width_, std::min(kTile, n_tokens_ - first), false,
               output_norms_[h].data() + first);
  });
}

LayerView LayerRows::view(const std::vector<HeadState>& heads, const KvNeeds& needs,
                          ViewStorage& storage) const {
  LayerView view;
  view.layer = layer_;
  view.n_layers = config_.n_layers;
  view.n_heads = config_.n_heads;
  view.n_kv_heads = config_.n_kv_heads;
  view.head_dim = config_.head_dim;
  view.n_tokens = n_tokens_;
  view.rope_factor = prompt_.rope->attention_factor();
  view.inv_freq = prompt_.rope->inv_freq();
  for (int h = 0; h < config_.n_kv_heads; ++h) {
    view.heads.push_back(head_rows(h, heads[h], needs, storage));
  }
  if (needs.output_norms) {
    for (int i = 0; i < config_.n_heads; ++i) {
      const HeadState& state = heads[i / config_.group()];
      std::vector<float>& norms = storage.buffers.emplace_back();
      for (const int32_t row : state.rows) norms.push_back(output_norms_[i][row]);
      view.output_norms.push_back(norms);
    }
  }
  if (needs.attention_received) {
    view.attention_received = prompt_.attention_received.data() +
                              static_cast<size_t>(layer_) * config_.n_heads * n_tokens_;
  }
  add_repeat_scores(needs, view);
  add_window(needs, view, storage);
  add_statistics(needs, view);
  return view;
}

LayerView::HeadRows LayerRows::head_rows(int kv_head, const HeadState& state, const KvNeeds& needs,
                                         ViewStorage& storage) const {
  LayerView::HeadRows head;
  head.n_rows = static_cast<int>(state.rows.size());
  head.positions = state.rows;
  if (needs.keys) head.keys = keys_left(keys_[kv_head], state, true, storage);
  if (needs.raw_keys) head.raw_keys = keys_left(raw_keys_[kv_head], state, false, storage);
  if (needs.values) head.values = values_left(kv_head, state, storage);
  return head;
}

// Tiles of the rows that are left, packed again.
const float* LayerRows::keys_left(const std::vector<float>& tiles, const HeadState& state,
                                  bool drop_channels, ViewStorage& storage) const {
  drop_channels =
      drop_channels && !(state.dropped_channels.empty() && state.removed_channels.empty());
  if (whole(state) && !drop_channels) return tiles.data();
  const size_t tile_floats = static_cast<size_t>(config_.head_dim) * kTile;
  std::vector<float>& out =
      storage.buffers.emplace_back((state.rows.size() + kTile - 1) / kTile * tile_floats);
  for (size_t r = 0; r < state.rows.size(); ++r) {
    const float* from = tiles.data() + state.rows[r] / kTile * tile_floats + state.rows[r] % kTile;
    float* to = out.data() + r / kTile * tile_floats + r % kTile;
    for (int d = 0; d < config_.head_dim; ++d) {
      to[d * kTile] = drop_channels && counts_as_zero(state, d) ? 0.0f : from[d * kTile];
    }
  }
  return out.data();
}

const float* LayerRows::values_left(int kv_head, const HeadState& state,
                                    ViewStorage& storage) const {
  if (whole(state) && state.values.empty()) return values_[kv_head].data();
  std::vector<float>& out = storage.buffers.emplace_back(state.rows.size() * width_);
  for (size_t r = 0; r < state.rows.size(); ++r) {
    const float* from = state.values.empty()
                            ? values_[kv_head].data() + static_cast<size_t>(state.rows[r]) * width_
                            : state.values.data() + r * config_.head_dim;
    std::copy_n(from, config_.head_dim, out.data() + r * width_);
  }
  return out.data();
}

// The last of the recorded queries: (n_heads, n, head_dim).
void LayerRows::add_window(const KvNeeds& needs, LayerView& view, ViewStorage& storage) const {
  const QueryWindow& recorded = prompt_.window;
  view.n_window = std::min(needs.window_queries, n_tokens_);
  if (view.n_window == 0) return;
  const int n = view.n_window, head_dim = config_.head_dim;
  KV_CHECK(n <= recorded.n_window, "{} queries wanted, {} recorded", n, recorded.n_window);
  const float* first = recorded.queries.data() +
                       static_cast<size_t>(layer_) * config_.n_heads * recorded.n_window * head_dim;
  if (n == recorded.n_window) {
    view.window_queries = first;
    return;
  }
  std::vector<float>& out =
      storage.buffers.emplace_back(static_cast<size_t>(config_.n_heads) * n * head_dim);
  for (int h = 0; h < config_.n_heads; ++h) {
    const size_t from = static_cast<size_t>(h + 1) * recorded.n_window - n;
    std::copy_n(first + from * head_dim, static_cast<size_t>(n) * head_dim,
                out.data() + static_cast<size_t>(h) * n * head_dim);
  }
  view.window_queries = out.data();
}

void LayerRows::add_repeat_scores(const KvNeeds& needs, LayerView& view) const {
  if (needs.repeats.empty()) return;
  for (const auto& [repeated, scores] : prompt_.repeat_scores) {
    if (!(repeated == needs.repeats.front())) continue;
    view.repeat_scores =
        scores.data() + static_cast<size_t>(layer_) * config_.n_kv_heads * n_tokens_;
  }
  KV_CHECK(view.repeat_scores != nullptr);
}

void LayerRows::add_statistics(const KvNeeds& needs, LayerView& view) const {
  if (needs.query_statistics.empty()) return;
  const int wanted = needs.query_statistics.front();
  for (const QueryStatistics& s : prompt_.query_statistics) {
    if (s.first_token != wanted) continue;
    const size_t at = static_cast<size_t>(layer_) * config_.n_heads * config_.head_dim;
    view.query_mean = s.mean.data() + at;
    view.query_covariance = s.covariance.data() + at * config_.head_dim;
  }
  KV_CHECK(view.query_mean != nullptr, "no statistics from token {}", wanted);
}

}  // namespace kv
