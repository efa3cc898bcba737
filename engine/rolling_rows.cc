// The first rows and the newest ones, with positions inside what is held (StreamingLLM, arXiv
// 2309.17453). Token t sees
//
//   locally  rows t - window + 1 .. t, each at its true distance;
//   sinks    rows j < sinks that left the window, at the distance sinks + window - 1 - j, as if the
//            rows in between did not exist.
//
// So a query needs no position beyond sinks + window, however long the text. Queries of kGroup
// tokens share the position 0 of their window, which depends on the tokens' indices alone: how the
// text is cut into passes does not show in the bits.
#include <algorithm>
#include <vector>

#include "engine/row_block.h"
#include "engine/step_methods.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

constexpr int kGroup = 64;  // tokens, counted from the beginning of the sequence

class RollingRows final : public StepRows {
 public:
  RollingRows(const ModelConfig& config, CodecPtr codec, StepPtr rules, int sinks, int window)
      : n_kv_heads_(config.n_kv_heads),
        head_dim_(config.head_dim),
        codec_(std::move(codec)),
        rules_(std::move(rules)),
        sinks_(sinks),
        window_(window),
        heads_(static_cast<size_t>(config.n_layers) * config.n_kv_heads,
               TileRows((sinks + kTile - 1) / kTile)) {}

  std::unique_ptr<StepRows> copy() const override { return std::make_unique<RollingRows>(*this); }
  const StepRules& rules() const override { return *rules_; }

  int prompt_pass(int wanted) const override { return wanted; }
  bool single_tokens() const override { return false; }
  int positions(int) const override { return std::max(sinks_, kGroup) + window_ + 2 * kTile; }

  void append(int layer, int kv_head, const float* keys, const float* values, int64_t stride,
              int n) override {
    at(layer, kv_head).append(*codec_, head_dim_, keys, values, stride, n);
  }

  void attend(const ModelConfig& config, const RopeTable& rope, int layer,
              const AttentionInput& input) override {
    std::vector<QueryRows> units;
    for (int h = 0; h < n_kv_heads_; ++h) {
      for (int t = 0; t < input.n_tokens;) {
        const int to_border = kGroup - (input.first_token + t) % kGroup;
        const int n = std::min(to_border, input.n_tokens - t);
        units.push_back({&input, h, config.group(), t, n});
        t += n;
      }
    }
    parallel_for(static_cast<int64_t>(units.size()),
                 [&](int64_t i) { attend_unit(rope, at(layer, units[i].kv_head), units[i]); });
  }

  void advance() override {
    for (TileRows& rows : heads_) rows.drop_before(rows.n_rows() - window_);
  }

  std::vector<int32_t> held(int layer, int kv_head) const override {
    const int n = heads_[static_cast<size_t>(layer) * n_kv_heads_ + kv_head].n_rows();
    std::vector<int32_t> rows;
    for (int j = 0; j < std::min(sinks_, n); ++j) rows.push_back(j);
    for (int j = std::max(sinks_, n - window_); j < n; ++j) rows.push_back(j);
    return rows;
  }

  int64_t rows_seen() const override {
    int64_t total = 0;
    for (const TileRows& rows : heads_) total += std::min(rows.n_rows(), sinks_ + window_);
    return total;
  }
  size_t bytes_in_use() const override {
    const size_t row_bytes =
        (codec_->key_tile_bytes(head_dim_) + codec_->value_tile_bytes(head_dim_)) / kTile;
    return row_bytes * static_cast<size_t>(rows_seen());
  }
  size_t bytes_allocated() const override {
    size_t total = 0;
    for (const TileRows& rows : heads_) total += rows.bytes();
    return total;
  }

  StepMemory memory() const override {
    StepMemory memory{{window_}, {}};
    for (const TileRows& rows : heads_) memory.parts.push_back({{}, {}, rows.pages()});
    return memory;
  }
  bool remember(StepMemory memory, int n_tokens) override {
    if (memory.sizes.size() != 1 || memory.parts.size() != heads_.size()) return false;
    // With a ratio the prompt's length decided on the window.
    const bool by_ratio = std::get<RollingRules>(rules_->rules).ratio.has_value();
    if (memory.sizes[0] < 1 || (!by_ratio && memory.sizes[0] != window_)) return false;
    window_ = memory.sizes[0];
    for (size_t i = 0; i < heads_.size(); ++i) {
      if (!heads_[i].assign(n_tokens, n_tokens - window_, std::move(memory.parts[i].pages)))
        return false;
    }
    return true;
  }

 private:
  TileRows& at(int layer, int kv_head) {
    return heads_[static_cast<size_t>(layer) * n_kv_heads_ + kv_head];
  }

  void attend_unit(const RopeTable& rope, const TileRows& rows, const QueryRows& unit) const {
    FoldedAttention& attention = FoldedAttention::start(*codec_, head_dim_, unit);
    const int first = unit.input->first_token + unit.first_token, last = first + unit.n_tokens - 1;
    if (std::min(sinks_, last - window_ + 1) > 0) fold_sinks(rope, rows, unit, attention);
    fold_window(rope, rows, unit, attention);
    for (int r = 0; r < unit.n_rows(); ++r) attention.write(r);
  }

  void fold_sinks(const RopeTable& rope, const TileRows& rows, const QueryRows& unit,
                  FoldedAttention& attention) const {
    const float* q = attention.load_queries(0, rope, [&](int) { return sinks_ + window_ - 1; });
    const int n_sinks = std::min(sinks_, rows.n_rows());
    for (int block = 0; block * kAttnBlock < n_sinks; ++block) {
      const RowBlock tiles(&rope, 0, rows, block, n_sinks, attention,
                           [](int, int) { return true; });
      attention.fold(q, tiles.tiles(), [&](int r, float* scores) {
        const int token = unit.input->first_token + unit.token(r);
        return tiles.see_only(0, std::min(n_sinks, token - window_ + 1), scores);
      });
    }
  }

  void fold_window(const RopeTable& rope, const TileRows& rows, const QueryRows& unit,
                   FoldedAttention& attention) const {
    const int first = unit.input->first_token + unit.first_token, last = first + unit.n_tokens - 1;
    // Position 0: from the group's first token, whether it is in this pass or not.
    const int base = std::max(0, first / kGroup * kGroup - window_ + 1) / kTile * kTile;
    const float* q = attention.load_queries(
        1, rope, [&](int token) { return unit.input->first_token + token - base; });
    const int first_row = std::max(0, first - window_ + 1);
    for (int block = first_row / kAttnBlock; block * kAttnBlock <= last; ++block) {
      const RowBlock tiles(&rope, base, rows, block, last + 1, attention,
                           [&](int first_of_tile, int n) { return first_of_tile + n > first_row; });
      attention.fold(q, tiles.tiles(), [&](int r, float* scores) {
        const int token = unit.input->first_token + unit.token(r);
        return tiles.see_only(token - window_ + 1, token + 1, scores);
      });
    }
  }

  int n_kv_heads_, head_dim_;
  CodecPtr codec_;
  StepPtr rules_;
  int sinks_, window_;
  std::vector<TileRows> heads_;  // (n_layers, n_kv_heads)
};

}  // namespace

std::unique_ptr<StepRows> make_rolling_rows(const ModelConfig& config, const CodecPtr& codec,
                                            const StepPtr& rules, int n_prompt) {
  const RollingRules& rolling = std::get<RollingRules>(rules->rules);
  int window = rolling.window;
  if (rolling.ratio) {
    const int kept = static_cast<int>(n_prompt * (1.0 - *rolling.ratio));
    window = std::max(1, kept - rolling.sinks);
  }
  return std::make_unique<RollingRows>(config, codec, rules, rolling.sinks, window);
}

}  // namespace kv
