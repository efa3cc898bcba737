// The rows of one layer of a prefilled prompt as policies see them: unpacked once, shown to every
// policy of a grid.
#pragma once

#include <cstdint>
#include <list>
#include <vector>

#include "engine/kv_policy.h"
#include "engine/model.h"
#include "engine/session.h"

namespace kv {

// What policies have left of one (layer, KV head) so far.
struct HeadState {
  std::vector<int32_t> rows;  // prompt rows, rising
  // (rows, head_dim) where a policy changed the values of what stays; else empty.
  std::vector<float> values;
  // (head_dim) 1: the channel of the rotated keys counts as 0; empty: none.
  std::vector<uint8_t> dropped_channels;
  std::vector<uint8_t> removed_channels;  // likewise, of those that are not stored either
};

// What a view points at and LayerRows does not hold.
struct ViewStorage {
  std::list<std::vector<float>> buffers;  // a list: what was handed out stays where it is
};

class LayerRows {
 public:
  // Everything that needs asks for, of every prompt row.
  LayerRows(const Model& model, const PrefilledPrompt& prompt, int layer, const KvNeeds& needs);

  // The view of a policy with these needs (or less than the constructor's) on what heads hold,
  // (n_kv_heads). Points into this, heads and storage.
  LayerView view(const std::vector<HeadState>& heads, const KvNeeds& needs,
                 ViewStorage& storage) const;

 private:
  void load_tile(int kv_head, int tile);
  void compute_output_norms();
  LayerView::HeadRows head_rows(int kv_head, const HeadState& state, const KvNeeds& needs,
                                ViewStorage& storage) const;
  const float* keys_left(const std::vector<float>& tiles, const HeadState& state,
                         bool drop_channels, ViewStorage& storage) const;
  const float* values_left(int kv_head, const HeadState& state, ViewStorage& storage) const;
  void add_window(const KvNeeds& needs, LayerView& view, ViewStorage& storage) const;
  void add_repeat_scores(const KvNeeds& needs, LayerView& view) const;
  void add_statistics(const KvNeeds& needs, LayerView& view) const;
  bool whole(const HeadState& state) const {
    return static_cast<int>(state.rows.size()) == n_tokens_;
  }

  const Model& model_;
  const ModelConfig& config_;
  const PrefilledPrompt& prompt_;
  int layer_, width_, n_tokens_;
  // By KV head. Keys (tiles, head_dim, kTile), values (n_tokens, padded(head_dim)).
  std::vector<std::vector<float>> keys_, raw_keys_, values_;
  std::vector<std::vector<float>> output_norms_;  // (n_heads)(n_tokens)
};

}  // namespace kv
