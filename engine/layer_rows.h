// The rows of one layer as policies see them: unpacked once, shown to every policy of a grid.
#pragma once

#include <cstdint>
#include <list>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/kv_policy.h"
#include "engine/model.h"
#include "engine/recorded_inputs.h"
#include "engine/rope.h"

namespace kv {

// What policies have left of one (layer, KV head) so far.
struct HeadState {
  std::vector<int32_t> rows;  // indices of the cache's rows, rising
  // (rows, head_dim) where a policy changed the values of what stays; else empty.
  std::vector<float> values;
  // (head_dim) 1: the channel of the rotated keys counts as 0; empty: none.
  std::vector<uint8_t> dropped_channels;
  std::vector<uint8_t> removed_channels;  // likewise, of those that are not stored either
};

// What a view points at and LayerRows does not hold.
struct ViewStorage {
  // Lists: what was handed out stays where it is.
  std::list<std::vector<float>> buffers;
  std::list<std::vector<int32_t>> positions;
};

class LayerRows {
 public:
  // Everything that needs asks for, of every row that the cache holds. inputs: of all the tokens
  // that the cache has seen. All stay the caller's.
  LayerRows(const Model& model, const KvCache& cache, const RopeTable& rope,
            const RecordedInputs& inputs, int layer, const KvNeeds& needs);

  // The view of a policy with these needs (or less than the constructor's) on what heads hold,
  // (n_kv_heads). Points into this, heads and storage.
  LayerView view(const std::vector<HeadState>& heads, const KvNeeds& needs,
                 ViewStorage& storage) const;

 private:
  void load_tile(int kv_head, int tile);
  void compute_output_norms();
  LayerView::HeadRows head_rows(int kv_head, const HeadState& state, const KvNeeds& needs,
                                ViewStorage& storage) const;
  const float* keys_left(int kv_head, const std::vector<float>& tiles, const HeadState& state,
                         bool drop_channels, ViewStorage& storage) const;
  const float* values_left(int kv_head, const HeadState& state, ViewStorage& storage) const;
  void add_window(const KvNeeds& needs, LayerView& view, ViewStorage& storage) const;
  void add_repeat_scores(const KvNeeds& needs, LayerView& view) const;
  void add_statistics(const KvNeeds& needs, LayerView& view) const;
  // Rows of a KV head in the cache, and their tiles.
  int n_rows(int kv_head) const { return cache_.head(layer_, kv_head).n_rows; }
  int n_tiles(int kv_head) const { return (n_rows(kv_head) + kTile - 1) / kTile; }
  bool whole(int kv_head, const HeadState& state) const {
    return static_cast<int>(state.rows.size()) == n_rows(kv_head);
  }
  RopeTile rotation(int kv_head, int tile, float* scratch) const;

  const Model& model_;
  const ModelConfig& config_;
  const KvCache& cache_;
  const RopeTable& rope_;
  const RecordedInputs& inputs_;
  int layer_, width_, n_tokens_;
  // By KV head. Keys (tiles, head_dim, kTile), values (rows, padded(head_dim)).
  std::vector<std::vector<float>> keys_, raw_keys_, values_;
  std::vector<std::vector<float>> output_norms_;  // (n_heads)(rows of the KV head)
};

}  // namespace kv
