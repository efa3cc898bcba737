#include "engine/rope.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace kv {
namespace {

constexpr double kPi = 3.14159265358979323846;

// theta^(2i / rotary_dim), float32: the base of every RoPE variant.
std::vector<float> position_frequencies(double theta, int rotary_dim) {
  std::vector<float> frequencies(rotary_dim / 2);
  for (int i = 0; i < rotary_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dim);
    // Rounded once from double: the correctly rounded float32 power.
    frequencies[i] = static_cast<float>(
        std::pow(static_cast<double>(static_cast<float>(theta)), static_cast<double>(exponent)));
  }
  return frequencies;
}

// Llama 3.1: long wavelengths are stretched by `factor`, short ones stay, those between are
// blended.
void stretch_llama3(const RopeConfig& rope, std::vector<float>& inv_freq) {
  const float low = static_cast<float>(rope.low_freq_factor);
  const float high_minus_low = static_cast<float>(rope.high_freq_factor - rope.low_freq_factor);
  const float factor = static_cast<float>(rope.factor);
  const float context = static_cast<float>(rope.original_max_position);
  const float longest = static_cast<float>(rope.original_max_position / rope.low_freq_factor);
  const float shortest = static_cast<float>(rope.original_max_position / rope.high_freq_factor);
  for (float& f : inv_freq) {
    const float wavelength = static_cast<float>(2 * kPi) / f;
    if (wavelength > longest) {
      f = f / factor;
    } else if (!(wavelength < shortest)) {
      const float blend = (context / wavelength - low) / high_minus_low;
      f = (1.0f - blend) * f / factor + blend * f;
    }
  }
}

// YaRN (arXiv 2309.00071): dimensions below the correction range extrapolate, above it interpolate.
// powers (rotary_dim / 2) = theta^(2i / rotary_dim). Returns the factor on cos and sin.
float stretch_yarn(const RopeConfig& rope, const std::vector<float>& powers,
                   std::vector<float>& inv_freq) {
  const int rotary_dim = 2 * static_cast<int>(powers.size());
  const auto correction_dim = [&](double rotations) {
    return rotary_dim * std::log(rope.original_max_position / (rotations * 2 * kPi)) /
           (2 * std::log(rope.theta));
  };
  double low = correction_dim(rope.beta_fast), high = correction_dim(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, rotary_dim - 1.0);
  if (low == high) high += 0.001;
  const float width = static_cast<float>(high - low), start = static_cast<float>(low);
  const float factor = static_cast<float>(rope.factor);
  for (size_t i = 0; i < powers.size(); ++i) {
    const float ramp = std::clamp((static_cast<float>(i) - start) / width, 0.0f, 1.0f);
    const float extrapolated = 1.0f - ramp;
    inv_freq[i] =
        (1.0f / (factor * powers[i])) * (1.0f - extrapolated) + (1.0f / powers[i]) * extrapolated;
  }
  if (rope.attention_factor != 0) return static_cast<float>(rope.attention_factor);
  const auto mscale = [&](double m) {
    return rope.factor <= 1 ? 1.0 : 0.1 * m * std::log(rope.factor) + 1.0;
  };
  if (rope.mscale != 0 && rope.mscale_all_dim != 0) {
    return static_cast<float>(mscale(rope.mscale) / mscale(rope.mscale_all_dim));
  }
  return static_cast<float>(mscale(1.0));
}

// Phi-3's longrope for texts within the original length. Returns the factor on cos and sin.
float stretch_longrope(const RopeConfig& rope, const std::vector<float>& powers,
                       std::vector<float>& inv_freq) {
  for (size_t i = 0; i < powers.size(); ++i)
    inv_freq[i] = 1.0f / (rope.short_factors[i] * powers[i]);
  if (rope.attention_factor != 0) return static_cast<float>(rope.attention_factor);
  if (rope.factor <= 1) return 1.0f;
  return static_cast<float>(
      std::sqrt(1.0 + std::log(rope.factor) / std::log(rope.original_max_position)));
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeConfig& rope, int rotary_dim) {
  RopeFrequencies result;
  const std::vector<float> powers = position_frequencies(rope.theta, rotary_dim);
  for (float p : powers) result.inv_freq.push_back(1.0f / p);
  switch (rope.type) {
    case RopeType::kDefault:
    case RopeType::kDynamic:  // up to the length it was trained for
      break;
    case RopeType::kLinear:
      for (float& f : result.inv_freq) f /= static_cast<float>(rope.factor);
      break;
    case RopeType::kLlama3:
      stretch_llama3(rope, result.inv_freq);
      break;
    case RopeType::kYarn:
      result.attention_factor = stretch_yarn(rope, powers, result.inv_freq);
      break;
    case RopeType::kLongrope:
      result.attention_factor = stretch_longrope(rope, powers, result.inv_freq);
      break;
  }
  return result;
}

LayerRopes::LayerRopes(const ModelConfig& config, int n_positions) {
  std::shared_ptr<const RopeTable> tables[3];  // by LayerRope
  for (int l = 0; l < config.n_layers; ++l) {
    const LayerRope kind = config.layer(l).rope;
    std::shared_ptr<const RopeTable>& table = tables[static_cast<int>(kind)];
    if (!table) {
      const RopeConfig& rope = kind == LayerRope::kSliding ? config.sliding_rope : config.rope;
      const int rotary_dim = kind == LayerRope::kNone ? 0 : config.rotary_dim;
      table = std::make_shared<const RopeTable>(rope, rotary_dim, n_positions);
    }
    tables_.push_back(table);
  }
}

RopeTable::RopeTable(const RopeConfig& rope, int rotary_dim, int n_positions)
    : n_positions_((n_positions + kTile - 1) / kTile * kTile), half_(rotary_dim / 2) {
  const RopeFrequencies frequencies = rope_frequencies(rope, rotary_dim);
  attention_factor_ = frequencies.attention_factor;
  inv_freq_ = frequencies.inv_freq;
  rows_.resize(static_cast<size_t>(n_positions_) * 2 * half_);
  tiles_.resize(rows_.size());
  for (int p = 0; p < n_positions_; ++p) {
    float* row = rows_.data() + static_cast<size_t>(p) * 2 * half_;
    float* tile = tiles_.data() + static_cast<size_t>(p / kTile) * 2 * half_ * kTile + p % kTile;
    for (int i = 0; i < half_; ++i) {
      const float angle = static_cast<float>(p) * frequencies.inv_freq[i];
      row[i] =
          static_cast<float>(std::cos(static_cast<double>(angle))) * frequencies.attention_factor;
      row[half_ + i] =
          static_cast<float>(std::sin(static_cast<double>(angle))) * frequencies.attention_factor;
      tile[i * kTile] = row[i];
      tile[(half_ + i) * kTile] = row[half_ + i];
    }
  }
}

RopeTile RopeTable::tile(const HeadCache& head, int tile, float* scratch) const {
  const int first = tile * kTile, n = std::min(kTile, head.n_rows - first);
  const int listed = head.listed ? static_cast<int>(head.listed->size()) : 0;
  if (first >= listed && (first + head.run_offset) % kTile == 0) {
    const int at = (first + head.run_offset) / kTile;
    KV_CHECK((at + 1) * kTile <= n_positions_, "tile {} of {} positions", at, n_positions_);
    return {tile_cos(at), tile_cos(at) + half_ * kTile, 2 * half_};
  }
  int32_t positions[kTile];
  for (int r = 0; r < n; ++r) positions[r] = head.position(first + r);
  return gather(positions, n, scratch);
}

RopeTile RopeTable::gather(const int32_t* positions, int n, float* scratch) const {
  const float* rows[kTile];
  for (int r = 0; r < kTile; ++r) {
    const int p = positions[std::min(r, n - 1)];
    KV_CHECK(p >= 0 && p < n_positions_, "position {} of {}", p, n_positions_);
    rows[r] = cos_row(p);
  }
  kernels().transpose_rows(rows, 2 * half_, scratch);  // cosines, then sines
  return {scratch, scratch + half_ * kTile, 2 * half_};
}

}  // namespace kv
