#include "engine/attention.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "kernels/aligned.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

constexpr int kTilesPerBlock = kAttnBlock / kTile;
constexpr int kQueryRows =
    192;  // query rows (tokens x heads of the group) that share one pass over the keys
constexpr int kSpanBlocks = 4;  // blocks of one decode task: 512 rows
constexpr int kDecodeTokens =
    4;  // inputs with at most this many tokens are split over rows instead

// Query rows of one KV head's group for some consecutive tokens, against some consecutive blocks.
struct Unit {
  const AttentionInput* input;
  int kv_head;
  int first_token, n_tokens;  // of the input
  int first_block, n_blocks;
  size_t partials;  // decode: where (blocks of the head, rows, padded(head_dim) + 2) floats begin
};

// Everything one thread needs for one unit; grows and stays.
struct Workspace {
  AlignedBuffer memory;
  float *key_tile, *value_tile, *rope;  // one tile, unpacked
  float* q;                             // (rows, head_dim) rotated and scaled
  float* q_narrow;                      // (rows, head_dim) those channels of it that keys have
  float* scores;                        // (rows, kAttnBlock)
  float *block, *block_max,
      *block_sum;            // (rows, padded(head_dim)), (rows), (rows): the block at hand
  float *total, *max, *sum;  // the same of the blocks folded so far

  void size_for(int n_rows, int head_dim) {
    const int width = padded(head_dim);
    const size_t floats =
        static_cast<size_t>(n_rows) * (width * 4 + kAttnBlock + 4) + 3 * width * kTile;
    if (memory.size() < floats * sizeof(float)) memory = AlignedBuffer(floats * sizeof(float));
    float* next = memory.as<float>();
    const auto take = [&](size_t n) { return std::exchange(next, next + n); };
    key_tile = take(width * kTile);
    value_tile = take(width * kTile);
    rope = take(width * kTile);
    q = take(n_rows * width);
    q_narrow = take(n_rows * width);
    scores = take(static_cast<size_t>(n_rows) * kAttnBlock);
    block = take(n_rows * width);
    total = take(n_rows * width);
    block_max = take(n_rows);
    block_sum = take(n_rows);
    max = take(n_rows);
    sum = take(n_rows);
  }
};

Workspace& workspace() {
  thread_local Workspace w;
  return w;
}

class LayerAttention {
 public:
  LayerAttention(const ModelConfig& config, const RopeTable& rope, int layer)
      : config_(config),
        rope_(rope),
        layer_(layer),
        group_(config.group()),
        head_dim_(config.head_dim),
        width_(padded(config.head_dim)),
        scale_(static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)))) {}

  // Floats that one block of one decode unit leaves behind: output, maximum, sum for each row.
  int partial_floats(int n_rows) const { return n_rows * (width_ + 2); }

  int visible_rows(const AttentionInput& in, int kv_head, int token) const {
    return in.cache->head(layer_, kv_head).n_rows - in.n_tokens + token + 1;
  }

  // A unit that folds all its blocks and writes the output.
  void run_whole(const Unit& unit) const {
    Workspace& w = workspace();
    const int n_rows = unit.n_tokens * group_;
    w.size_for(n_rows, head_dim_);
    load_queries(unit, w.q);
    narrow_queries(unit, w);
    std::fill_n(w.sum, n_rows, 0.0f);
    for (int b = 0; b < unit.n_blocks; ++b) {
      const int at = unit.first_block + b;
      run_block(unit, at, w);
      for (int r = 0; r < n_rows; ++r) {
        if (visible_in_block(unit, r, at) > 0)
          fold(w, r, w.block + r * width_, w.block_max[r], w.block_sum[r]);
      }
    }
    for (int r = 0; r < n_rows; ++r) write_row(unit, r, w);
  }

  // A decode unit: leaves the partial result of each of its blocks for fold_partials.
  void run_span(const Unit& unit, float* partials) const {
    Workspace& w = workspace();
    const int n_rows = unit.n_tokens * group_;
    w.size_for(n_rows, head_dim_);
    load_queries(unit, w.q);
    narrow_queries(unit, w);
    for (int b = 0; b < unit.n_blocks; ++b) {
      const int at = unit.first_block + b;
      run_block(unit, at, w);
      float* out = partials + unit.partials + static_cast<size_t>(at) * partial_floats(n_rows);
      std::copy_n(w.block, n_rows * width_, out);
      std::copy_n(w.block_max, n_rows, out + n_rows * width_);
      std::copy_n(w.block_sum, n_rows, out + n_rows * (width_ + 1));
    }
  }

  // Folds what run_span left, from left to right: the same order as run_whole.
  void fold_partials(const Unit& unit, const float* partials) const {
    Workspace& w = workspace();
    const int n_rows = unit.n_tokens * group_;
    w.size_for(n_rows, head_dim_);
    std::fill_n(w.sum, n_rows, 0.0f);
    for (int b = 0; b < unit.n_blocks; ++b) {
      const float* part =
          partials + unit.partials + static_cast<size_t>(b) * partial_floats(n_rows);
      for (int r = 0; r < n_rows; ++r) {
        if (visible_in_block(unit, r, b) == 0) continue;
        fold(w, r, part + r * width_, part[n_rows * width_ + r], part[n_rows * (width_ + 1) + r]);
      }
    }
    for (int r = 0; r < n_rows; ++r) write_row(unit, r, w);
  }

  // What the rows of one block received from all queries of an input, added to sums (by query
  // head, stride apart).
  void add_received(const AttentionInput& in, int kv_head, int block, double* sums,
                    int64_t stride) const {
    Workspace& w = workspace();
    const int tokens_per_unit = std::max(1, kQueryRows / group_);
    for (int t = 0; t < in.n_tokens; t += tokens_per_unit) {
      const Unit unit{&in, kv_head, t, std::min(tokens_per_unit, in.n_tokens - t), block, 1, 0};
      const int n_rows = unit.n_tokens * group_;
      const int used = visible_in_block(unit, n_rows - 1, block);
      if (used == 0) continue;
      w.size_for(n_rows, head_dim_);
      load_queries(unit, w.q);
      narrow_queries(unit, w);
      score_block(unit, block, (used + kTile - 1) / kTile, w);
      for (int r = 0; r < n_rows; ++r) {
        const int64_t at = static_cast<int64_t>(head_of(unit, r)) * in.n_tokens + token_of(unit, r);
        float* scores = w.scores + r * kAttnBlock;
        const int visible = visible_in_block(unit, r, block);
        for (int j = 0; j < visible; ++j) scores[j] -= in.softmax_max[at];
        kernels().exp_inplace(scores, visible);
        double* out = sums + head_of(unit, r) * stride + block * kAttnBlock;
        for (int j = 0; j < visible; ++j) {
          out[j] += static_cast<double>(scores[j]) / in.softmax_sum[at];
        }
      }
    }
  }

 private:
  // Row r of a unit is head r / n_tokens of the group and token r % n_tokens.
  int token_of(const Unit& unit, int r) const { return unit.first_token + r % unit.n_tokens; }
  int head_of(const Unit& unit, int r) const { return unit.kv_head * group_ + r / unit.n_tokens; }

  int visible_in_block(const Unit& unit, int r, int block) const {
    const int visible = visible_rows(*unit.input, unit.kv_head, token_of(unit, r));
    return std::clamp(visible - block * kAttnBlock, 0, kAttnBlock);
  }

  // Rotated and scaled queries, (rows, head_dim).
  void load_queries(const Unit& unit, float* q) const {
    const AttentionInput& in = *unit.input;
    const Kernels& k = kernels();
    for (int r = 0; r < unit.n_tokens * group_; ++r) {
      const int token = token_of(unit, r);
      const int position = in.cache->next_position(layer_, unit.kv_head, in.first_token + token);
      float* row = q + r * head_dim_;
      std::copy_n(
          in.queries + token * in.stride + static_cast<int64_t>(head_of(unit, r)) * head_dim_,
          head_dim_, row);
      k.rotate_row(row, rope_.cos_row(position), rope_.sin_row(position), rope_.rotary_dim());
      k.scale(row, scale_, head_dim_, row);
    }
  }

  // The channels of the queries that narrow keys have, in their order.
  void narrow_queries(const Unit& unit, Workspace& w) const {
    const HeadCache& rows = unit.input->cache->head(layer_, unit.kv_head);
    if (!rows.key_channels) return;
    for (int r = 0; r < unit.n_tokens * group_; ++r) {
      float* to = w.q_narrow + r * head_dim_;
      for (const int32_t channel : *rows.key_channels) *to++ = w.q[r * head_dim_ + channel];
    }
  }

  // One block for all rows: w.block (rows, width), block_max_, block_sum_. Rows that see nothing of
  // it hold zeros.
  void run_block(const Unit& unit, int block, Workspace& w) const {
    const int n_rows = unit.n_tokens * group_;
    const int used = visible_in_block(unit, n_rows - 1, block);  // the last token sees most
    const int n_tiles = (used + kTile - 1) / kTile;
    const HeadCache& rows = unit.input->cache->head(layer_, unit.kv_head);
    const Kernels& k = kernels();
    score_block(unit, block, n_tiles, w);
    for (int r = 0; r < n_rows; ++r) softmax_row(w, r, visible_in_block(unit, r, block), used);
    for (int t = 0; t < n_tiles; ++t) {
      const int tile = block * kTilesPerBlock + t, n = std::min(kTile, used - t * kTile);
      const float* values = unit.input->cache->load_values(rows, tile, n, w.value_tile);
      for (int d = 0; d < width_; d += kPanel) {
        k.gemm_f32(w.scores + t * kTile, kAttnBlock, n_rows, n, values + d, width_, w.block + d,
                   width_, t > 0);
      }
    }
  }

  // q k^T of all rows with the first n_tiles tiles of a block into w.scores.
  void score_block(const Unit& unit, int block, int n_tiles, Workspace& w) const {
    const HeadCache& rows = unit.input->cache->head(layer_, unit.kv_head);
    const KvCodec& codec = unit.input->cache->codec();
    for (int t = 0; t < n_tiles; ++t) {
      const int tile = block * kTilesPerBlock + t;
      const RopeTile rope =
          codec.stores_rotated_keys() ? RopeTile{} : rope_.tile(rows, tile, w.rope);
      const int n = std::min(kTile, rows.n_rows - tile * kTile);
      float* scores = w.scores + t * kTile;
      if (rows.masked_rows == 0 && unit.input->cache->narrow(rows, tile)) {
        const float* keys = unit.input->cache->load_narrow_keys(rows, tile, n, rope, w.key_tile);
        kernels().gemm_f32(w.q_narrow, head_dim_, unit.n_tokens * group_,
                           static_cast<int>(rows.key_channels->size()), keys, kTile, scores,
                           kAttnBlock, false);
        continue;
      }
      const float* keys = unit.input->cache->load_keys(rows, tile, n, rope, w.key_tile);
      if (tile * kTile < rows.masked_rows) keys = drop_channels(rows, tile, keys, w.key_tile);
      kernels().gemm_f32(w.q, head_dim_, unit.n_tokens * group_, head_dim_, keys, kTile, scores,
                         kAttnBlock, false);
    }
  }

  // The tile with zeros in the channels that its masked rows lack, in scratch.
  const float* drop_channels(const HeadCache& rows, int tile, const float* keys,
                             float* scratch) const {
    const int n = std::min(kTile, rows.masked_rows - tile * kTile);
    if (keys != scratch) std::copy_n(keys, head_dim_ * kTile, scratch);
    for (int d = 0; d < head_dim_; ++d) {
      if ((*rows.dropped_channels)[d] != 0) std::fill_n(scratch + d * kTile, n, 0.0f);
    }
    return scratch;
  }

  // Probabilities of the visible rows of a block, zeros for the others up to `used`.
  void softmax_row(Workspace& w, int r, int visible, int used) const {
    float* scores = w.scores + r * kAttnBlock;
    w.block_max[r] = w.block_sum[r] = 0;
    if (visible > 0) kernels().softmax_block(scores, visible, &w.block_max[r], &w.block_sum[r]);
    if (used > visible) std::fill(scores + visible, scores + used, 0.0f);
  }

  // The running total of row r takes in one block; sum 0 means that there was none yet.
  void fold(Workspace& w, int r, const float* out, float max, float sum) const {
    float* total = w.total + r * width_;
    if (w.sum[r] == 0) {
      std::copy_n(out, width_, total);
      w.max[r] = max;
      w.sum[r] = sum;
    } else {
      kernels().merge_blocks(total, &w.max[r], &w.sum[r], out, max, sum, width_);
    }
  }

  void write_row(const Unit& unit, int r, const Workspace& w) const {
    const AttentionInput& in = *unit.input;
    float* out = in.out + token_of(unit, r) * in.out_stride +
                 static_cast<int64_t>(head_of(unit, r)) * head_dim_;
    kernels().scale(w.total + r * width_, 1.0f / w.sum[r], head_dim_, out);
    if (in.softmax_max == nullptr) return;
    const int64_t at = static_cast<int64_t>(head_of(unit, r)) * in.n_tokens + token_of(unit, r);
    in.softmax_max[at] = w.max[r];
    in.softmax_sum[at] = w.sum[r];
  }

  const ModelConfig& config_;
  const RopeTable& rope_;
  int layer_, group_, head_dim_, width_;
  float scale_;
};

// Splits the inputs into units: long ones by tokens, each unit folding all rows that it sees; short
// ones (decode) by spans of rows, folded afterwards.
struct Plan {
  std::vector<Unit> whole, spans, folds;
  std::vector<float> partials;
};

void plan_input(const AttentionInput& in, const ModelConfig& config, const LayerAttention& layer,
                Plan& plan) {
  const int tokens_per_unit = std::max(1, kQueryRows / config.group());
  for (int h = 0; h < config.n_kv_heads; ++h) {
    const auto blocks_until = [&](int token) {
      return (layer.visible_rows(in, h, token) + kAttnBlock - 1) / kAttnBlock;
    };
    if (in.n_tokens > kDecodeTokens) {
      for (int t = 0; t < in.n_tokens; t += tokens_per_unit) {
        const int n = std::min(tokens_per_unit, in.n_tokens - t);
        plan.whole.push_back({&in, h, t, n, 0, blocks_until(t + n - 1), 0});
      }
      continue;
    }
    const int n_blocks = blocks_until(in.n_tokens - 1);
    if (n_blocks <= kSpanBlocks) {
      plan.whole.push_back({&in, h, 0, in.n_tokens, 0, n_blocks, 0});
      continue;
    }
    for (int b = 0; b < n_blocks; b += kSpanBlocks) {
      plan.spans.push_back(
          {&in, h, 0, in.n_tokens, b, std::min(kSpanBlocks, n_blocks - b), plan.partials.size()});
    }
    plan.folds.push_back({&in, h, 0, in.n_tokens, 0, n_blocks, plan.partials.size()});
    plan.partials.resize(plan.partials.size() +
                         static_cast<size_t>(n_blocks) *
                             layer.partial_floats(in.n_tokens * config.group()));
  }
}

}  // namespace

void attend(const ModelConfig& config, const RopeTable& rope, int layer,
            std::span<const AttentionInput> inputs) {
  const LayerAttention attention(config, rope, layer);
  Plan plan;
  for (const AttentionInput& in : inputs) plan_input(in, config, attention, plan);
  parallel_for(static_cast<int64_t>(plan.whole.size() + plan.spans.size()), [&](int64_t i) {
    const size_t u = static_cast<size_t>(i);
    if (u < plan.whole.size()) {
      attention.run_whole(
          plan.whole[plan.whole.size() - 1 - u]);  // later tokens see more rows: longest first
    } else {
      attention.run_span(plan.spans[u - plan.whole.size()], plan.partials.data());
    }
  });
  parallel_for(static_cast<int64_t>(plan.folds.size()),
               [&](int64_t i) { attention.fold_partials(plan.folds[i], plan.partials.data()); });
}

void add_attention_received(const ModelConfig& config, const RopeTable& rope, int layer,
                            const AttentionInput& input, double* sums, int64_t stride) {
  const LayerAttention attention(config, rope, layer);
  const int n_rows = attention.visible_rows(input, 0, input.n_tokens - 1);
  const int64_t n_blocks = (n_rows + kAttnBlock - 1) / kAttnBlock;
  parallel_for(n_blocks * config.n_kv_heads, [&](int64_t i) {
    attention.add_received(input, static_cast<int>(i / n_blocks), static_cast<int>(i % n_blocks),
                           sums, stride);
  });
}

}  // namespace kv
