#include "engine/layer_rows.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/output_norms.h"
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

LayerRows::LayerRows(const Model& model, const KvCache& cache, const RopeTable& rope,
                     const RecordedInputs& inputs, int layer, const KvNeeds& needs)
    : model_(model),
      config_(model.config),
      cache_(cache),
      rope_(rope),
      inputs_(inputs),
      layer_(layer),
      width_(padded(config_.head_dim)),
      n_tokens_(cache.n_tokens()) {
  const int n_heads = config_.n_kv_heads;
  int most_tiles = 0;
  for (int h = 0; h < n_heads; ++h) {
    const size_t tiles = static_cast<size_t>(n_tiles(h));
    most_tiles = std::max(most_tiles, n_tiles(h));
    if (needs.keys) keys_.emplace_back(tiles * config_.head_dim * kTile);
    if (needs.raw_keys) raw_keys_.emplace_back(tiles * config_.head_dim * kTile);
    if (needs.values || needs.output_norms) values_.emplace_back(tiles * kTile * width_);
  }
  parallel_for(static_cast<int64_t>(n_heads) * most_tiles, [&](int64_t i) {
    const int h = static_cast<int>(i / most_tiles), tile = static_cast<int>(i % most_tiles);
    if (tile < n_tiles(h)) load_tile(h, tile);
  });
  if (needs.output_norms) compute_output_norms();
}

// Of the rows of a tile at the positions where they first stood.
RopeTile LayerRows::rotation(int kv_head, int tile, float* scratch) const {
  const KvCache::Head& head = cache_.head(layer_, kv_head);
  if (head.shift == 0 && !head.originals) return rope_.tile(head, tile, scratch);
  int32_t positions[kTile];
  const int n = std::min(kTile, head.n_rows - tile * kTile);
  for (int r = 0; r < n; ++r) positions[r] = head.original_position(tile * kTile + r);
  return rope_.gather(positions, n, scratch);
}

void LayerRows::load_tile(int kv_head, int tile) {
  const bool rotated = cache_.codec().stores_rotated_keys();
  const KvCache::Head& head = cache_.head(layer_, kv_head);
  const int head_dim = config_.head_dim, n = std::min(kTile, head.n_rows - tile * kTile);
  const size_t key_offset = static_cast<size_t>(tile) * head_dim * kTile;
  std::vector<float> scratch(width_ * kTile), angles(width_ * kTile);
  if (!keys_.empty()) {
    const RopeTile turn = rotated ? RopeTile{} : rotation(kv_head, tile, angles.data());
    const float* keys = cache_.load_keys(head, tile, n, turn, scratch.data());
    std::copy_n(keys, head_dim * kTile, keys_[kv_head].data() + key_offset);
  }
  if (!raw_keys_.empty()) {
    const RopeTile back = rotated ? inverse(rotation(kv_head, tile, angles.data()),
                                            rope_.attention_factor(), angles.data())
                                  : RopeTile{};
    const float* keys = cache_.load_keys(head, tile, n, back, scratch.data());
    std::copy_n(keys, head_dim * kTile, raw_keys_[kv_head].data() + key_offset);
  }
  if (!values_.empty()) {
    const float* values = cache_.load_values(head, tile, n, scratch.data());
    std::copy_n(values, n * width_,
                values_[kv_head].data() + static_cast<size_t>(tile) * kTile * width_);
  }
}

void LayerRows::compute_output_norms() {
  const OutputNorms norms(model_, layer_);
  for (int i = 0; i < config_.n_heads; ++i) output_norms_.emplace_back(n_rows(i / config_.group()));
  parallel_for(config_.n_heads, [&](int64_t h) {
    const int kv_head = static_cast<int>(h) / config_.group(), rows = n_rows(kv_head);
    for (int first = 0; first < rows; first += kTile) {
      const float* values = values_[kv_head].data() + static_cast<size_t>(first) * width_;
      norms.rows(static_cast<int>(h), values, width_, std::min(kTile, rows - first), false,
                 output_norms_[h].data() + first);
    }
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
  view.rope_factor = rope_.attention_factor();
  view.inv_freq = rope_.inv_freq();
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
    view.attention_received = inputs_.attention_received.data() +
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
  std::vector<int32_t>& positions = storage.positions.emplace_back();
  const KvCache::Head& stored = cache_.head(layer_, kv_head);
  for (const int32_t row : state.rows) positions.push_back(stored.original_position(row));
  head.positions = positions;
  if (needs.keys) head.keys = keys_left(kv_head, keys_[kv_head], state, true, storage);
  if (needs.raw_keys) head.raw_keys = keys_left(kv_head, raw_keys_[kv_head], state, false, storage);
  if (needs.values) head.values = values_left(kv_head, state, storage);
  return head;
}

// Tiles of the rows that are left, packed again.
const float* LayerRows::keys_left(int kv_head, const std::vector<float>& tiles,
                                  const HeadState& state, bool drop_channels,
                                  ViewStorage& storage) const {
  drop_channels =
      drop_channels && !(state.dropped_channels.empty() && state.removed_channels.empty());
  if (whole(kv_head, state) && !drop_channels) return tiles.data();
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
  if (whole(kv_head, state) && state.values.empty()) return values_[kv_head].data();
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
  const QueryWindow& recorded = inputs_.window;
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
  for (const auto& [repeated, scores] : inputs_.repeat_scores) {
    if (!(repeated == needs.repeats.front())) continue;
    view.repeat_scores =
        scores.data() + static_cast<size_t>(layer_) * config_.n_kv_heads * n_tokens_;
  }
  KV_CHECK(view.repeat_scores != nullptr);
}

void LayerRows::add_statistics(const KvNeeds& needs, LayerView& view) const {
  if (needs.query_statistics.empty()) return;
  const QueryStatisticsNeeds& wanted = needs.query_statistics.front();
  for (const QueryStatistics& s : inputs_.query_statistics) {
    if (s.first_token != wanted.first_token) continue;
    const size_t at = static_cast<size_t>(layer_) * config_.n_heads * config_.head_dim;
    view.query_mean = s.mean.data() + at;
    if (wanted.covariance) view.query_covariance = s.covariance.data() + at * config_.head_dim;
  }
  KV_CHECK(view.query_mean != nullptr, "no statistics from token {}", wanted.first_token);
}

}  // namespace kv
