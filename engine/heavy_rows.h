// Heavy hitters (H2O, arXiv 2306.14048): each query head keeps the newest rows and those that received
// most of its attention.
//
// At every step of n tokens so far, for one query head, where n > heavy + recent (both fixed when
// scoring begins, as shares of the length then):
//
//   score[j] += softmax weight of row j                (rows it no longer keeps have none)
//   it keeps the newest `recent` rows, the `heavy` best of the others, and the next token's.
//
// Query heads of a group share rows of one KV head. A row is given up when none of them keeps it; a
// later token takes its place, and sparse tiles are packed. So rows stand in no order of position.
#pragma once

#include <memory>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/model_config.h"
#include "engine/step_rows.h"

namespace kv {

class FoldedAttention;
struct QueryRows;

class HeavyRows final : public StepRows {
 public:
  // What query heads keep of a prompt of n_prompt tokens. attention_received (n_layers, n_heads,
  // n_prompt): read only where the rules score the prompt.
  HeavyRows(const ModelConfig& config, CodecPtr codec, StepPtr rules,
            const std::vector<double>& attention_received, int n_prompt);

  // Takes over the pages of a cache that holds the rows of held(), in this order.
  void adopt_pages(KvCache& cache);

  std::unique_ptr<StepRows> copy() const override { return std::make_unique<HeavyRows>(*this); }
  const StepRules& rules() const override { return *rules_; }
  int prompt_pass(int) const override { return 1; }
  bool single_tokens() const override { return true; }
  int positions(int n) const override { return n_tokens_ + n; }
  void append(int layer, int kv_head, const float* keys, const float* values, int64_t stride,
              int n) override;
  void attend(const ModelConfig& config, const RopeTable& rope, int layer,
              const AttentionInput& input) override;
  void advance() override { ++n_tokens_; }
  std::vector<int32_t> held(int layer, int kv_head) const override;
  int64_t rows_seen() const override;
  size_t bytes_in_use() const override;
  size_t bytes_allocated() const override;
  StepMemory memory() const override;
  bool remember(StepMemory memory, int n_tokens) override;

 private:
  // The rows of one KV head by slot.
  struct Slots {
    std::vector<PageRef> pages;
    std::vector<int32_t> tokens;  // (slots) whose row a slot holds; kFree: no one's
    std::vector<float> scores;  // (tiles, group, kTile); kGone: that query head keeps no row there
    int n_free = 0;
  };
  struct Competing {
    int n = 0, worst = -1;
  };

  Slots& at(int layer, int kv_head) {
    return slots_[static_cast<size_t>(layer) * n_kv_heads_ + kv_head];
  }
  size_t tile_scores() const { return static_cast<size_t>(group_) * kTile; }
  size_t n_scores(const Slots& slots) const {
    return (slots.tokens.size() + kTile - 1) / kTile * tile_scores();
  }
  size_t score_at(int slot, int g) const {
    return slot / kTile * tile_scores() + static_cast<size_t>(g * kTile + slot % kTile);
  }
  int new_slot(Slots& slots, int32_t token) const;
  void fix_sizes(int n);
  void attend_head(const RopeTable& rope, Slots& slots, const QueryRows& unit) const;
  void add_weights(const float* weights, const float* factors, int g, Slots& slots) const;
  void evict(Slots& slots, int n) const;
  void evict_for(Slots& slots, int g, int32_t recent) const;
  Competing competing_of(const Slots& slots, int g, int32_t recent) const;
  void give_up(Slots& slots, int slot, int g) const;
  void pack(Slots& slots) const;
  void move_row(Slots& slots, int from, int to) const;

  bool consistent(Slots& slots, int n_tokens) const;

  int n_kv_heads_, group_, head_dim_;
  CodecPtr codec_;
  StepPtr rules_;
  int n_tokens_;                // before the pass
  int heavy_ = 0, recent_ = 0;  // rows; both 0: scoring has not begun
  std::vector<Slots> slots_;    // (n_layers, n_kv_heads)
};

}  // namespace kv
