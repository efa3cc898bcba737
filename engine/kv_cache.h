// The KV cache of one sequence: for each (layer, KV head) its own rows, in tiles.
//
// Keys are stored before RoPE together with the position at which they will be rotated, so that
// rows can move to other positions exactly. Layers with a window hold no row that the next token does not
// see; policies leave them alone. Tiles are shared between a cache and its forks and
// copied when a shared one is about to change. Bytes are counted where they are allocated.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/cut_state.h"
#include "engine/kv_codec.h"
#include "engine/model_config.h"
#include "engine/step_rows.h"
#include "engine/tile_page.h"
#include "kernels/kernels.h"

namespace kv {

// Rows of one (layer, KV head).
struct HeadCache {
  int n_rows = 0;
  // Rows before it are gone: no later token sees them (layers with a window). Row r is token r there, and
  // tiles without a row that is left are null. 0 in all other layers.
  int first_row = 0;
  std::vector<PageRef> pages;  // ceil(n_rows / kTile)
  // RoPE position of row r: listed[r] for the first listed->size() rows (null: none are listed),
  // after them consecutive: r + run_offset.
  std::shared_ptr<const std::vector<int32_t>> listed;
  int32_t run_offset = 0;
  // Channels of rotated keys that count as 0 in the first masked_rows rows: (head_dim) flags; null:
  // none.
  std::shared_ptr<const std::vector<uint8_t>> dropped_channels;
  int masked_rows = 0;

  // The channels that the keys of the prompt's rows have, whole RoPE pairs: the lower ones of the
  // pairs rising, then their partners, then channels that RoPE leaves alone; attention takes all
  // others as 0. Null: all. Later rows have all channels.
  std::shared_ptr<const std::vector<int32_t>> key_channels;

  // Only where the codec keeps residual rows or key_channels is set: pages then hold the coded rows
  // (the prompt's), and plain, by the same tile numbers, all others (null where a tile has none).
  CodedRows coded;
  std::vector<PageRef> plain;
  // Only with a LayerCodec: the layer's groups, shared by its heads, and the row of the layer that
  // this head's first row is.
  std::shared_ptr<const LayerGroups> key_groups, value_groups;
  int64_t layer_row = 0;

  int32_t position(int r) const {
    return listed && r < static_cast<int>(listed->size()) ? (*listed)[r] : r + run_offset;
  }
};

class KvCache {
 public:
  // residual_codec: for codecs that keep residual rows, how these are stored.
  KvCache(const ModelConfig& config, CodecPtr codec, CodecPtr residual_codec = nullptr);

  // A second cache with the same rows; pages are shared until one of the two writes to them.
  KvCache fork() const { return *this; }

  const KvCodec& codec() const { return *codec_; }
  const CodecPtr& codec_ptr() const { return codec_; }

  // The rows of a sequence whose method acts at every step; head() then has none. Null: rows only
  // grow.
  StepRows* step() const { return step_.get(); }
  void set_step(std::unique_ptr<StepRows> rows) { step_ = StepRowsPtr(std::move(rows)); }
  // True: once the prompt is there, a pass holds one token of this sequence.
  bool single_tokens() const {
    return codec_->keeps_residual() || (step() != nullptr && step()->single_tokens());
  }

  // Tokens that this sequence has seen (prompt and later ones), whatever was evicted since.
  int n_tokens() const { return n_tokens_; }
  // RoPE position of token t (t >= the tokens seen at compression) in one head, queries and new
  // keys alike.
  int32_t next_position(int layer, int kv_head, int t) const {
    return t + head(layer, kv_head).shift;
  }

  struct Head : HeadCache {
    // RoPE position of a new token minus its index; 0 unless rows were re-positioned.
    int32_t shift = 0;
    // Of the first rows the tokens that they were, rising; null: the same as their positions. Only
    // in caches that are cut again and again.
    std::shared_ptr<const std::vector<int32_t>> originals;

    // The token that row r was; known for every row where shift is 0, or originals are kept.
    int32_t original_position(int r) const {
      if (originals && r < static_cast<int>(originals->size())) return (*originals)[r];
      return position(r) - shift;
    }
  };
  const Head& head(int layer, int kv_head) const { return heads_[layer * n_kv_heads_ + kv_head]; }
  Head& head(int layer, int kv_head) { return heads_[layer * n_kv_heads_ + kv_head]; }

  // Makes room for n more rows in every head of one layer, so that appends from several threads
  // need no allocation.
  void reserve(int layer, int n);
  // Appends n rows to one head: keys (before RoPE, unless the codec stores rotated ones) and values,
  // row i at keys + i * stride. The first is token n_tokens(). The rows' positions follow from
  // shift. block: read only where the codec codes blocks.
  void append(int layer, int kv_head, const float* keys, const float* values, int64_t stride, int n,
              const BlockRange& block = {});
  // After all layers got their rows, and attention has read them: residual rows may become codes.
  void advance(int n_tokens);

  // Newest tokens that a query of the layer sees, its own included; 0: all.
  int window(int layer) const { return windows_[static_cast<size_t>(layer)]; }

  // Only these rows (rising) of one head stay, moved code for code; the caller sets where they stand.
  // Not for codecs that keep residual rows.
  void keep_rows(int layer, int kv_head, const std::vector<int32_t>& rows);

  // What cuts this cache back as tokens come (engine/repeated_cut.h).
  const CutState& cuts() const { return cuts_; }
  CutState& cuts() { return cuts_; }
  void set_cuts(CutState cuts) { cuts_ = std::move(cuts); }

  // One tile of a head as float, as KvCodec::load_keys and load_values give it, wherever its rows
  // are stored.
  const float* load_keys(const HeadCache& head, int tile, int n, const RopeTile& rope,
                         float* scratch) const;
  const float* load_values(const HeadCache& head, int tile, int n, float* scratch) const;
  // Where a tile is stored, for KeyProduct::next and ValueProduct::next: tiles lie apart in memory, where
  // the hardware foresees only the rest of one that was begun. Null past the last one.
  static const std::byte* stored_keys(const HeadCache& head, int tile);
  static const std::byte* stored_values(const HeadCache& head, int tile);
  // Their products with query rows and with weights, as KvCodec::score_keys and weigh_values give them;
  // finish_weighing turns a sum of the latter over tiles of one head (padded(head_dim)) into what
  // attention gives.
  void score_keys(const HeadCache& head, int tile, int n, const RopeTile& rope,
                  const KeyProduct& product, float* scratch) const;
  void weigh_values(const HeadCache& head, int tile, int n, const ValueProduct& product,
                    float* scratch) const;
  void finish_weighing(const HeadCache& head, float* sum) const;

  // Whether all rows of a tile have just the channels of key_channels; their keys are then
  // (key_channels->size(), kTile) floats, the channels in that order.
  bool narrow(const HeadCache& head, int tile) const {
    return head.key_channels != nullptr &&
           head.coded.keys >= std::min(head.n_rows, (tile + 1) * kTile);
  }
  const float* load_narrow_keys(const HeadCache& head, int tile, int n, const RopeTile& rope,
                                float* scratch) const;

  // Bytes of rows in use, position lists included (a list that heads share counts once), and of what
  // later cuts need.
  size_t bytes_in_use() const;
  // Bytes really held: whole pages (shared ones count fully) and the same.
  size_t bytes_allocated() const;

  int n_layers() const { return n_layers_; }
  int n_kv_heads() const { return n_kv_heads_; }
  int head_dim() const { return head_dim_; }

 private:
  KvCache(const KvCache&) = default;

 public:
  KvCache(KvCache&&) = default;
  KvCache& operator=(KvCache&&) = default;

 private:
  // Rows lie in two sets of pages.
  bool split(const HeadCache& head) const { return residual_codec_ || head.key_channels; }
  const KvCodec& later_codec() const { return residual_codec_ ? *residual_codec_ : *codec_; }
  int key_width(const HeadCache& head) const {
    return head.key_channels ? static_cast<int>(head.key_channels->size()) : head_dim_;
  }
  // What a tile is read from first; null past the last one.
  static const PageRef* page_of(const HeadCache& head, int tile);
  void drop_unseen();
  void code_rows();  // of the residual rows those whose turn it is
  void code_keys(Head& head, int until);
  void code_values(Head& head, int until);
  void recode_layers();
  void recode_layer(int layer);
  // Rows 0 .. n - 1 of a tile of codes.
  const float* load_coded_keys(const HeadCache& head, int tile, int n, const RopeTile& rope,
                               float* scratch) const;
  // The same of narrow rows, with zeros for the channels that they lack.
  const float* widen_keys(const HeadCache& head, int tile, int n, const RopeTile& rope,
                          float* scratch) const;
  const float* load_coded_values(const HeadCache& head, int tile, int n, float* scratch) const;

  int n_layers_, n_kv_heads_, head_dim_, n_tokens_ = 0;
  CodecPtr codec_, residual_codec_;  // residual_codec_: null unless codec_ keeps residual rows
  std::vector<int> windows_;         // (n_layers)
  std::vector<Head> heads_;          // (n_layers, n_kv_heads)
  CutState cuts_;
  StepRowsPtr step_;
};

}  // namespace kv
