#include "engine/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "kernels/aligned.h"
#include "kernels/parallel.h"
#include "kernels/prefetch.h"

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

// Room for n floats that the calling thread keeps: what decode units leave behind for the folds. Memory that is
// given back after every layer would come with page faults.
float* partial_results(size_t n) {
  thread_local AlignedBuffer memory;
  if (memory.size() < n * sizeof(float)) memory = AlignedBuffer(n * sizeof(float));
  return memory.as<float>();
}

class LayerAttention {
 public:
  LayerAttention(const ModelConfig& config, const RopeTable& rope, int layer)
      : rope_(rope),
        layer_(layer),
        group_(config.group()),
        head_dim_(config.head_dim),
        width_(padded(config.head_dim)),
        window_(config.layer(layer).window) {}

  // Floats that one block of one decode unit leaves behind: output, maximum, sum for each row.
  int partial_floats(int n_rows) const { return n_rows * (width_ + 2); }

  int visible_rows(const AttentionInput& in, int kv_head, int token) const {
    return in.cache->head(layer_, kv_head).n_rows - in.n_tokens + token + 1;
  }

  // The first row that this token sees; rows of layers with a window are tokens.
  int first_visible(const AttentionInput& in, int kv_head, int token) const {
    return window_ == 0 ? 0 : std::max(0, visible_rows(in, kv_head, token) - window_);
  }
  bool has_window() const { return window_ > 0; }

  // A unit that folds all its blocks and writes the output.
  void run_whole(const Unit& unit) const {
    Workspace& w = workspace();
    const int n_rows = unit.n_tokens * group_;
    w.size_for(n_rows, head_dim_);
    load_queries(unit, w.q);
    narrow_queries(unit, n_rows, w);
    std::fill_n(w.sum, n_rows, 0.0f);
    for (int b = 0; b < unit.n_blocks; ++b) {
      const int at = unit.first_block + b;
      run_block({&unit, 1}, at, w);
      for (int r = 0; r < n_rows; ++r) {
        if (sees(unit, r, at)) fold(w, r, w.block + r * width_, w.block_max[r], w.block_sum[r]);
      }
    }
    for (int r = 0; r < n_rows; ++r) write_row(unit, r, w);
  }

  // Decode units over the same blocks of rows that they share: leaves the partial result of each
  // block and unit for fold_partials. A tile is unpacked once for all of them.
  void run_span(std::span<const Unit> units, float* partials) const {
    Workspace& w = workspace();
    w.size_for(rows_of(units), head_dim_);
    float* q = w.q;
    for (const Unit& unit : units) {
      load_queries(unit, q);
      q += unit.n_tokens * group_ * head_dim_;
    }
    narrow_queries(units[0], rows_of(units), w);
    for (int b = 0; b < units[0].n_blocks; ++b) {
      const int at = units[0].first_block + b;
      run_block(units, at, w);
      int first = 0;
      for (const Unit& unit : units) {
        const int n_rows = unit.n_tokens * group_;
        float* out = partials + unit.partials + static_cast<size_t>(at) * partial_floats(n_rows);
        std::copy_n(w.block + first * width_, n_rows * width_, out);
        std::copy_n(w.block_max + first, n_rows, out + n_rows * width_);
        std::copy_n(w.block_sum + first, n_rows, out + n_rows * (width_ + 1));
        first += n_rows;
      }
    }
  }

  // Folds what run_span left, from left to right: the same order as run_whole.
  void fold_partials(const Unit& unit, const float* partials) const {
    Workspace& w = workspace();
    const int n_rows = unit.n_tokens * group_;
    w.size_for(n_rows, head_dim_);
    std::fill_n(w.sum, n_rows, 0.0f);
    for (int b = unit.first_block; b < unit.first_block + unit.n_blocks; ++b) {
      const float* part =
          partials + unit.partials + static_cast<size_t>(b) * partial_floats(n_rows);
      for (int r = 0; r < n_rows; ++r) {
        if (!sees(unit, r, b)) continue;
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
      narrow_queries(unit, n_rows, w);
      score_block(unit, n_rows, block, 0, (used + kTile - 1) / kTile, w);
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

  // Whether row r of a unit sees any row of a block.
  bool sees(const Unit& unit, int r, int block) const {
    return visible_in_block(unit, r, block) > hidden_in_block(unit, r, block);
  }
  // Of a block the first rows that row r does not see any more.
  int hidden_in_block(const Unit& unit, int r, int block) const {
    const int first = first_visible(*unit.input, unit.kv_head, token_of(unit, r));
    return std::clamp(first - block * kAttnBlock, 0, kAttnBlock);
  }
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
      k.scale(row, in.scale, head_dim_, row);
    }
  }

  // The channels of n_rows queries in w.q that the narrow keys of the unit's cache have, in their
  // order.
  void narrow_queries(const Unit& unit, int n_rows, Workspace& w) const {
    const HeadCache& rows = unit.input->cache->head(layer_, unit.kv_head);
    if (!rows.key_channels) return;
    for (int r = 0; r < n_rows; ++r) {
      float* to = w.q_narrow + r * head_dim_;
      for (const int32_t channel : *rows.key_channels) *to++ = w.q[r * head_dim_ + channel];
    }
  }

  int rows_of(std::span<const Unit> units) const {
    int n = 0;
    for (const Unit& unit : units) n += unit.n_tokens * group_;
    return n;
  }

  // One block for the rows of all units, one after another: w.block (rows, width), block_max,
  // block_sum. Rows that see nothing of it hold zeros.
  void run_block(std::span<const Unit> units, int block, Workspace& w) const {
    const int n_rows = rows_of(units);
    int used = 0;  // the last token of a unit sees most
    for (const Unit& unit : units)
      used = std::max(used, visible_in_block(unit, unit.n_tokens * group_ - 1, block));
    int hidden = kAttnBlock;  // and its first token reaches back furthest
    for (const Unit& unit : units) hidden = std::min(hidden, hidden_in_block(unit, 0, block));
    const int first_tile = hidden / kTile, n_tiles = (used + kTile - 1) / kTile;
    const KvCache& cache = *units[0].input->cache;
    const HeadCache& rows = cache.head(layer_, units[0].kv_head);
    score_block(units[0], n_rows, block, first_tile, n_tiles, w);
    int row = 0;
    for (const Unit& unit : units) {
      for (int r = 0; r < unit.n_tokens * group_; ++r, ++row) {
        softmax_row(w, row, hidden_in_block(unit, r, block), visible_in_block(unit, r, block),
                    used);
      }
    }
    for (int t = first_tile; t < n_tiles; ++t) {
      const int tile = block * kTilesPerBlock + t, n = std::min(kTile, used - t * kTile);
      const std::byte* next = t + 1 < n_tiles ? KvCache::stored_values(rows, tile + 1)
                                              : KvCache::stored_keys(rows, tile + 1);
      cache.weigh_values(rows, tile, n,
                         {w.scores + t * kTile, kAttnBlock, n_rows, w.block, t > first_tile, next},
                         w.value_tile);
    }
  }

  // q k^T of n_rows rows in w.q with the tiles first_tile .. n_tiles - 1 of a block of the unit's cache,
  // into w.scores.
  void score_block(const Unit& unit, int n_rows, int block, int first_tile, int n_tiles,
                   Workspace& w) const {
    const KvCache& cache = *unit.input->cache;
    const HeadCache& rows = cache.head(layer_, unit.kv_head);
    for (int t = first_tile; t < n_tiles; ++t) {
      const int tile = block * kTilesPerBlock + t;
      const RopeTile rope =
          cache.codec().stores_rotated_keys() ? RopeTile{} : rope_.tile(rows, tile, w.rope);
      const int n = std::min(kTile, rows.n_rows - tile * kTile);
      float* scores = w.scores + t * kTile;
      const std::byte* next =
          t + 1 < n_tiles ? KvCache::stored_keys(rows, tile + 1)
                          : KvCache::stored_values(rows, block * kTilesPerBlock + first_tile);
      const bool is_narrow = rows.masked_rows == 0 && cache.narrow(rows, tile);
      const bool is_masked = tile * kTile < rows.masked_rows;
      if (is_narrow || is_masked) prefetch(next, cache.codec().key_tile_bytes(head_dim_));
      if (is_narrow) {
        const float* keys = cache.load_narrow_keys(rows, tile, n, rope, w.key_tile);
        kernels().gemm_f32(w.q_narrow, head_dim_, n_rows,
                           static_cast<int>(rows.key_channels->size()), keys, kTile, scores,
                           kAttnBlock, false);
        continue;
      }
      const KeyProduct product{w.q, head_dim_, n_rows, scores, kAttnBlock, next};
      if (is_masked) {
        const float* keys = cache.load_keys(rows, tile, n, rope, w.key_tile);
        score_loaded_keys(drop_channels(rows, tile, keys, w.key_tile), head_dim_, product);
      } else {
        cache.score_keys(rows, tile, n, rope, product, w.key_tile);
      }
    }
    if (unit.input->softcap == 0) return;
    for (int r = 0; r < n_rows; ++r) {
      cap_softly(w.scores + r * kAttnBlock + first_tile * kTile, (n_tiles - first_tile) * kTile,
                 unit.input->softcap);
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

  // Probabilities of the visible rows of a block, those from `hidden` on, zeros for the others up to
  // `used`.
  void softmax_row(Workspace& w, int r, int hidden, int visible, int used) const {
    float* scores = w.scores + r * kAttnBlock;
    w.block_max[r] = w.block_sum[r] = 0;
    if (hidden > 0) {
      const float unseen = visible > hidden ? -std::numeric_limits<float>::infinity() : 0.0f;
      std::fill_n(scores, hidden, unseen);
    }
    if (visible > hidden)
      kernels().softmax_block(scores, visible, &w.block_max[r], &w.block_sum[r]);
    const int from = std::max(hidden, visible);
    if (used > from) std::fill(scores + from, scores + used, 0.0f);
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
    float* total = w.total + r * width_;
    in.cache->finish_weighing(in.cache->head(layer_, unit.kv_head), total);
    kernels().scale(total, 1.0f / w.sum[r], head_dim_, out);
    if (in.softmax_max == nullptr) return;
    const int64_t at = static_cast<int64_t>(head_of(unit, r)) * in.n_tokens + token_of(unit, r);
    in.softmax_max[at] = w.max[r];
    in.softmax_sum[at] = w.sum[r];
  }

  const RopeTable& rope_;
  int layer_, group_, head_dim_, width_, window_;
};

// Splits the inputs into units: long ones by tokens, each unit folding all rows that it sees; short
// ones (decode) by spans of rows, folded afterwards. Inputs whose heads hold the same pages (forks of
// one prompt) take the spans of these together.
class Plan {
 public:
  Plan(const ModelConfig& config, const LayerAttention& attention, int layer,
       std::span<const AttentionInput> inputs)
      : config_(config), attention_(attention), layer_(layer) {
    for (int h = 0; h < config.n_kv_heads; ++h) {
      std::map<const std::byte*, std::vector<const AttentionInput*>> by_page;
      for (const AttentionInput& in : inputs) {
        if (in.n_tokens > kDecodeTokens) {
          add_long(in, h);
        } else if (const std::byte* page = first_page(in, h); page != nullptr) {
          by_page[page].push_back(&in);
        } else {
          add_short(in, h, 0, place(in, h));
        }
      }
      for (const auto& [page, group] : by_page) add_group(group, h);
    }
  }

  void run() {
    // Spans of the same positions one after another: they read the same part of the table of rotations.
    std::stable_sort(spans_.begin(), spans_.end(), [](const auto& a, const auto& b) {
      return a[0].first_block < b[0].first_block;
    });
    float* partials = partial_results(n_partial_floats_);
    parallel_for(static_cast<int64_t>(whole_.size() + spans_.size()), [&](int64_t i) {
      const size_t u = static_cast<size_t>(i);
      if (u < whole_.size()) {
        attention_.run_whole(
            whole_[whole_.size() - 1 - u]);  // later tokens see more rows: longest first
      } else {
        attention_.run_span(spans_[u - whole_.size()], partials);
      }
    });
    parallel_for(static_cast<int64_t>(folds_.size()),
                 [&](int64_t i) { attention_.fold_partials(folds_[i], partials); });
  }

 private:
  int blocks_until(const AttentionInput& in, int h, int token) const {
    return (attention_.visible_rows(in, h, token) + kAttnBlock - 1) / kAttnBlock;
  }

  int first_block(const AttentionInput& in, int h, int token) const {
    return attention_.first_visible(in, h, token) / kAttnBlock;
  }

  void add_long(const AttentionInput& in, int h) {
    const int tokens_per_unit = std::max(1, kQueryRows / config_.group());
    for (int t = 0; t < in.n_tokens; t += tokens_per_unit) {
      const int n = std::min(tokens_per_unit, in.n_tokens - t);
      const int first = first_block(in, h, t);
      whole_.push_back({&in, h, t, n, first, blocks_until(in, h, t + n - 1) - first, 0});
    }
  }

  // Where the next head's partial results begin.
  size_t place(const AttentionInput& in, int h) {
    const size_t at = n_partial_floats_;
    const int n_blocks = blocks_until(in, h, in.n_tokens - 1);
    if (n_blocks - first_block(in, h, 0) > kSpanBlocks) reserve(in, static_cast<size_t>(n_blocks));
    return at;
  }
  void reserve(const AttentionInput& in, size_t n_blocks) {
    const int rows = in.n_tokens * config_.group();
    n_partial_floats_ += n_blocks * static_cast<size_t>(attention_.partial_floats(rows));
  }

  // The blocks from `shared` on, and the fold of all.
  void add_short(const AttentionInput& in, int h, int shared, size_t partials) {
    const int first = first_block(in, h, 0), end = blocks_until(in, h, in.n_tokens - 1);
    if (shared == 0 && end - first <= kSpanBlocks) {
      whole_.push_back({&in, h, 0, in.n_tokens, first, end - first, 0});
      return;
    }
    for (int b = std::max(first, shared); b < end; b += kSpanBlocks) {
      spans_.push_back({{&in, h, 0, in.n_tokens, b, std::min(kSpanBlocks, end - b), partials}});
    }
    folds_.push_back({&in, h, 0, in.n_tokens, first, end - first, partials});
  }

  // What groups inputs that may share rows; null where pages do not tell all about a row.
  const std::byte* first_page(const AttentionInput& in, int h) const {
    const HeadCache& head = in.cache->head(layer_, h);
    if (in.cache->codec().keeps_residual() || head.key_channels || head.pages.empty() ||
        attention_.has_window())
      return nullptr;
    return head.pages[0].keys();
  }

  // Whole blocks at the beginning that all members of a group hold as the same rows at the same
  // positions, and that all their tokens see.
  int shared_blocks(const std::vector<const AttentionInput*>& group, int h) const {
    const HeadCache& first = group[0]->cache->head(layer_, h);
    int n_tiles = std::numeric_limits<int>::max();
    for (const AttentionInput* in : group) {
      const HeadCache& head = in->cache->head(layer_, h);
      if (head.listed != first.listed || head.run_offset != first.run_offset ||
          head.dropped_channels != first.dropped_channels ||
          head.masked_rows != first.masked_rows || &in->cache->codec() != &group[0]->cache->codec())
        return 0;
      n_tiles = std::min(n_tiles, attention_.visible_rows(*in, h, 0) / kTile);
      int same = 0;
      while (same < n_tiles && head.pages[same].same_as(first.pages[same])) ++same;
      n_tiles = same;
    }
    return n_tiles / kTilesPerBlock;
  }

  void add_group(const std::vector<const AttentionInput*>& group, int h) {
    const int shared = group.size() > 1 ? shared_blocks(group, h) : 0;
    if (shared == 0) {
      for (const AttentionInput* in : group) add_short(*in, h, 0, place(*in, h));
      return;
    }
    std::vector<Unit> members;
    int n_rows = 0;
    const auto flush = [&] {
      for (int b = 0; b < shared; b += kSpanBlocks) {
        for (Unit& unit : members) {
          unit.first_block = b;
          unit.n_blocks = std::min(kSpanBlocks, shared - b);
        }
        spans_.push_back(members);
      }
      members.clear();
      n_rows = 0;
    };
    for (const AttentionInput* in : group) {
      const int rows = in->n_tokens * config_.group();
      if (!members.empty() && n_rows + rows > kQueryRows) flush();
      const size_t partials = n_partial_floats_;
      reserve(*in, static_cast<size_t>(blocks_until(*in, h, in->n_tokens - 1)));
      members.push_back({in, h, 0, in->n_tokens, 0, 0, partials});
      n_rows += rows;
      add_short(*in, h, shared, partials);
    }
    flush();
  }

  const ModelConfig& config_;
  const LayerAttention& attention_;
  int layer_;
  std::vector<Unit> whole_, folds_;
  std::vector<std::vector<Unit>> spans_;  // units of one span share its rows
  size_t n_partial_floats_ = 0;
};

}  // namespace

void cap_softly(float* x, int64_t n, float cap) {
  kernels().scale(x, 1.0f / cap, n, x);
  kernels().tanh_inplace(x, n);
  kernels().scale(x, cap, n, x);
}

void attend(const ModelConfig& config, const RopeTable& rope, int layer,
            std::span<const AttentionInput> inputs) {
  const LayerAttention attention(config, rope, layer);
  Plan(config, attention, layer, inputs).run();
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
