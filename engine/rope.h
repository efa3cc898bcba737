// Rotary position embedding: angles as transformers computes them, kept in the two layouts that the
// kernels read.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/kv_codec.h"
#include "engine/model_config.h"

namespace kv {

// inv_freq (rotary_dim / 2), float32 like transformers' tables, and the factor on cos and sin (yarn,
// longrope).
struct RopeFrequencies {
  std::vector<float> inv_freq;
  float attention_factor = 1.0f;
};
RopeFrequencies rope_frequencies(const RopeConfig& rope, int rotary_dim);

// cos and sin of positions 0 .. n_positions - 1: angle = float(position) * inv_freq in float32,
// then cos and sin, times the attention factor. Immutable. rotary_dim 0: nothing is rotated.
class RopeTable {
 public:
  RopeTable(const RopeConfig& rope, int rotary_dim, int n_positions);

  int n_positions() const { return n_positions_; }
  int rotary_dim() const { return 2 * half_; }
  float attention_factor() const { return attention_factor_; }
  const std::vector<float>& inv_freq() const { return inv_freq_; }  // (rotary_dim / 2)

  // (rotary_dim / 2) of one position, for rotating one row.
  const float* cos_row(int position) const {
    return rows_.data() + static_cast<size_t>(position) * 2 * half_;
  }
  const float* sin_row(int position) const { return cos_row(position) + half_; }

  // The rows of tile `tile` of one head: points into the table where their positions are
  // consecutive from a multiple of kTile, else gathered into scratch (2 * (rotary_dim / 2) * kTile
  // floats). Columns beyond n_rows are finite.
  RopeTile tile(const HeadCache& head, int tile, float* scratch) const;
  // The same for any list of n <= kTile positions.
  RopeTile gather(const int32_t* positions, int n, float* scratch) const;

 private:
  const float* tile_cos(int tile) const {
    return tiles_.data() + static_cast<size_t>(tile) * 2 * half_ * kTile;
  }

  int n_positions_, half_;
  float attention_factor_;
  std::vector<float> inv_freq_;
  std::vector<float> rows_;   // (n_positions, cos then sin, half)
  std::vector<float> tiles_;  // (n_positions / kTile, cos then sin, half, kTile)
};

// The tables of a model's layers, which share them where they rotate alike. Immutable.
class LayerRopes {
 public:
  LayerRopes(const ModelConfig& config, int n_positions);

  const RopeTable& at(int layer) const { return *tables_[static_cast<size_t>(layer)]; }
  int n_positions() const { return tables_[0]->n_positions(); }

 private:
  std::vector<std::shared_ptr<const RopeTable>> tables_;  // (n_layers)
};

}  // namespace kv
