// Every row is held; what a query sees is bounded (InfLLM, arXiv 2402.04617). The prompt is taken in
// steps of `step` tokens, counted from its beginning; later tokens are steps of one. A step of t
// tokens [N, N + t) in one layer:
//
//   locally  token i sees rows j with 0 <= i - j < window, at their true distance;
//   far      all its tokens see, at the distance window - 1 of a key that is not rotated: the sinks,
//            the chosen blocks, and the first N + t - window rows after the last block's;
//   choice   of the `topk` blocks b with the largest representative[b] . mean of the step's queries,
//            rotated to window - 1, both of all query heads one after the other.
//
// One softmax over both; a row that is far and still local to the step's first tokens counts twice,
// as in the original. Afterwards rows leave the end of the window: first `sinks` rows become sinks,
// then every `block` rows a block. Its representative is, for each query head, the mean of the `repr`
// keys before RoPE that received most local attention so far.
#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/error.h"
#include "engine/row_block.h"
#include "engine/step_methods.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

constexpr int kQueryRows = 192;  // query rows that share one pass over the keys

struct RowRange {
  int from, to;
};

// What one layer has stored and sorted so far.
struct BlockLayer {
  std::vector<TileRows> heads;  // (n_kv_heads)
  int n_sinks = 0, n_blocks = 0;
  std::vector<float> representatives;  // (n_blocks, n_heads, head_dim)
  std::vector<float> received;         // (rows after the last block, n_heads)
};

// The tokens of one step, their softmax once they have attended.
struct Step {
  const RopeTable& rope;
  const AttentionInput& input;
  int first, n;                 // of the input
  int token;                    // index in the sequence of the first one
  std::vector<RowRange> far;    // rising
  std::vector<float> max, sum;  // (n_heads, n)
};

class BlockRows final : public StepRows {
 public:
  BlockRows(const ModelConfig& config, CodecPtr codec, StepPtr spec, const BlockRules& rules)
      : n_heads_(config.n_heads),
        n_kv_heads_(config.n_kv_heads),
        group_(config.group()),
        head_dim_(config.head_dim),
        codec_(std::move(codec)),
        spec_(std::move(spec)),
        rules_(rules),
        layers_(config.n_layers) {
    for (BlockLayer& layer : layers_) layer.heads.resize(n_kv_heads_);
  }

  std::unique_ptr<StepRows> copy() const override { return std::make_unique<BlockRows>(*this); }
  const StepRules& rules() const override { return *spec_; }

  int prompt_pass(int wanted) const override {
    return std::max(1, wanted / rules_.step) * rules_.step;
  }
  bool single_tokens() const override { return true; }
  int positions(int) const override { return rules_.window + rules_.step + 2 * kTile; }

  void append(int layer, int kv_head, const float* keys, const float* values, int64_t stride,
              int n) override {
    layers_[layer].heads[kv_head].append(*codec_, head_dim_, keys, values, stride, n);
  }

  void attend(const ModelConfig&, const RopeTable& rope, int layer,
              const AttentionInput& input) override {
    for (int first = 0; first < input.n_tokens; first += rules_.step) {
      const int n = std::min(rules_.step, input.n_tokens - first);
      take_step(layers_[layer], {rope, input, first, n, input.first_token + first, {}, {}, {}});
    }
  }
  void advance() override {}

  std::vector<int32_t> held(int layer, int kv_head) const override {
    std::vector<int32_t> rows(layers_[layer].heads[kv_head].n_rows());
    std::iota(rows.begin(), rows.end(), 0);
    return rows;
  }
  int64_t rows_seen() const override {
    const int most =
        rules_.sinks + rules_.topk * rules_.block + rules_.window + rules_.block + rules_.step;
    int64_t total = 0;
    for (const BlockLayer& layer : layers_) {
      for (const TileRows& rows : layer.heads) total += std::min(rows.n_rows(), most);
    }
    return total;
  }
  size_t bytes_in_use() const override {
    const size_t row_bytes =
        (codec_->key_tile_bytes(head_dim_) + codec_->value_tile_bytes(head_dim_)) / kTile;
    size_t total = 0;
    for (const BlockLayer& layer : layers_) {
      for (const TileRows& rows : layer.heads) total += row_bytes * rows.n_rows();
      total += (layer.representatives.size() + layer.received.size()) * sizeof(float);
    }
    return total;
  }
  size_t bytes_allocated() const override {
    size_t total = 0;
    for (const BlockLayer& layer : layers_) {
      for (const TileRows& rows : layer.heads) total += rows.bytes();
      total += (layer.representatives.capacity() + layer.received.capacity()) * sizeof(float);
    }
    return total;
  }

  StepMemory memory() const override {
    StepMemory memory{{rules_.sinks, rules_.window, rules_.topk}, {}};
    for (const BlockLayer& layer : layers_) {
      for (const TileRows& rows : layer.heads) memory.parts.push_back({{}, {}, rows.pages()});
      StepMemory::Part& first = memory.parts[memory.parts.size() - layer.heads.size()];
      first.numbers = {layer.n_sinks, layer.n_blocks};
      first.floats = layer.representatives;
      first.floats.insert(first.floats.end(), layer.received.begin(), layer.received.end());
    }
    return memory;
  }
  bool remember(StepMemory memory, int n_tokens) override;

 private:
  int sorted_rows(const BlockLayer& layer) const {
    return layer.n_sinks + layer.n_blocks * rules_.block;
  }

  void take_step(BlockLayer& layer, Step step) const {
    choose_far(layer, step);
    layer.received.resize(layer.received.size() + static_cast<size_t>(step.n) * n_heads_);
    step.max.resize(static_cast<size_t>(n_heads_) * step.n);
    step.sum.resize(step.max.size());
    const std::vector<QueryRows> units = units_of(step);
    parallel_for(static_cast<int64_t>(units.size()),
                 [&](int64_t i) { attend_unit(layer, step, units[i]); });
    const int first = local_start(step) / kAttnBlock,
              n_blocks = (step.token + step.n - 1) / kAttnBlock + 1 - first;
    parallel_for(static_cast<int64_t>(n_blocks) * n_kv_heads_, [&](int64_t i) {
      add_received(layer, step, units, static_cast<int>(i / n_blocks),
                   first + static_cast<int>(i % n_blocks));
    });
    sort_rows(layer, step.token + step.n);
  }

  int local_start(const Step& step) const { return std::max(0, step.token - rules_.window); }

  std::vector<QueryRows> units_of(const Step& step) const {
    const int tokens = std::max(1, kQueryRows / group_);
    std::vector<QueryRows> units;
    for (int h = 0; h < n_kv_heads_; ++h) {
      for (int t = 0; t < step.n; t += tokens)
        units.push_back({&step.input, h, group_, step.first + t, std::min(tokens, step.n - t)});
    }
    return units;
  }

  // The rows that all of the step's tokens see beyond their windows.
  void choose_far(const BlockLayer& layer, Step& step) const {
    const auto add = [&](int from, int to) {
      if (from < to) step.far.push_back({from, to});
    };
    add(0, layer.n_sinks);
    for (const int b : choose_blocks(layer, step)) {
      const int from = layer.n_sinks + b * rules_.block;
      add(from, from + rules_.block);
    }
    const int sorted = sorted_rows(layer);
    add(sorted, step.token + step.n - rules_.window);
  }

  std::vector<int> choose_blocks(const BlockLayer& layer, const Step& step) const {
    std::vector<int> blocks(layer.n_blocks);
    std::iota(blocks.begin(), blocks.end(), 0);
    if (layer.n_blocks <= rules_.topk) return blocks;
    const std::vector<double> query = mean_query(step);
    std::vector<double> match(blocks.size());
    const int64_t width = static_cast<int64_t>(query.size());
    parallel_for(layer.n_blocks, [&](int64_t b) {
      for (int64_t d = 0; d < width; ++d)
        match[b] += layer.representatives[b * width + d] * query[d];
    });
    std::stable_sort(blocks.begin(), blocks.end(),
                     [&](int a, int b) { return match[a] > match[b]; });
    blocks.resize(rules_.topk);
    std::sort(blocks.begin(), blocks.end());
    return blocks;
  }

  // (n_heads, head_dim): of the step's queries at the far position.
  std::vector<double> mean_query(const Step& step) const {
    std::vector<double> mean(static_cast<size_t>(n_heads_) * head_dim_);
    parallel_for(n_heads_, [&](int64_t head) {
      std::vector<float> row(head_dim_);
      double* out = mean.data() + head * head_dim_;
      for (int t = 0; t < step.n; ++t) {
        std::copy_n(step.input.queries + (step.first + t) * step.input.stride + head * head_dim_,
                    head_dim_, row.data());
        const int position = rules_.window - 1;
        kernels().rotate_row(row.data(), step.rope.cos_row(position), step.rope.sin_row(position),
                             step.rope.rotary_dim());
        for (int d = 0; d < head_dim_; ++d) out[d] += row[d];
      }
      for (int d = 0; d < head_dim_; ++d) out[d] /= step.n;
    });
    return mean;
  }

  void attend_unit(const BlockLayer& layer, Step& step, const QueryRows& unit) const {
    FoldedAttention& attention = FoldedAttention::start(*codec_, head_dim_, unit);
    const TileRows& rows = layer.heads[unit.kv_head];
    if (!step.far.empty()) fold_far(step, rows, attention);
    const float* q = load_local_queries(step, attention);
    const int end = last_token(step, unit) + 1;
    for (int block = local_start(step) / kAttnBlock; block * kAttnBlock < end; ++block) {
      const RowBlock tiles = local_block(step, rows, block, end, attention);
      attention.fold(q, tiles.tiles(), [&](int r, float* scores) {
        return see_window(tiles, step, unit, r, scores);
      });
    }
    for (int r = 0; r < unit.n_rows(); ++r) {
      attention.write(r);
      const int64_t at = static_cast<int64_t>(unit.head(r)) * step.n + unit.token(r) - step.first;
      step.max[at] = attention.max(r);
      step.sum[at] = attention.sum(r);
    }
  }

  int last_token(const Step& step, const QueryRows& unit) const {
    return step.input.first_token + unit.first_token + unit.n_tokens - 1;
  }

  void fold_far(const Step& step, const TileRows& rows, FoldedAttention& attention) const {
    const float* q = attention.load_queries(0, step.rope, [&](int) { return rules_.window - 1; });
    const auto seen = [&](int from, int to) {
      return std::any_of(step.far.begin(), step.far.end(),
                         [&](const RowRange& far) { return far.from < to && far.to > from; });
    };
    int block = -1;
    for (const RowRange& far : step.far) {
      for (block = std::max(block + 1, far.from / kAttnBlock); block * kAttnBlock < far.to;
           ++block) {
        const RowBlock tiles(nullptr, 0, rows, block, step.far.back().to, attention,
                             [&](int from, int n) { return seen(from, from + n); });
        std::vector<int> unseen;  // columns
        for (int c = 0; c < tiles.n_columns(); ++c) {
          if (!seen(tiles.first_row() + c, tiles.first_row() + c + 1)) unseen.push_back(c);
        }
        attention.fold(q, tiles.tiles(), [&](int, float* scores) {
          for (const int c : unseen) scores[c] = -std::numeric_limits<float>::infinity();
          return true;
        });
      }
      --block;  // the last one taken
    }
  }

  int local_base(const Step& step) const { return local_start(step) / kTile * kTile; }

  const float* load_local_queries(const Step& step, FoldedAttention& attention) const {
    return attention.load_queries(
        1, step.rope, [&](int token) { return step.input.first_token + token - local_base(step); });
  }

  RowBlock local_block(const Step& step, const TileRows& rows, int block, int end_row,
                       FoldedAttention& attention) const {
    const int start = local_start(step);
    return {&step.rope, local_base(step), rows, block, end_row, attention, [&](int first, int n) {
              return first + n > start;
            }};
  }

  bool see_window(const RowBlock& tiles, const Step& step, const QueryRows& unit, int r,
                  float* scores) const {
    const int token = step.input.first_token + unit.token(r);
    return tiles.see_only(token - rules_.window + 1, token + 1, scores);
  }

  // What the rows of one block received locally from the step's tokens, in their order.
  void add_received(BlockLayer& layer, const Step& step, const std::vector<QueryRows>& units,
                    int kv_head, int block) const {
    const int sorted = sorted_rows(layer), end = step.token + step.n;
    std::vector<double> received(static_cast<size_t>(group_) * kAttnBlock);
    for (const QueryRows& unit : units) {
      if (unit.kv_head != kv_head || last_token(step, unit) < block * kAttnBlock) continue;
      FoldedAttention& attention = FoldedAttention::start(*codec_, head_dim_, unit);
      const float* q = load_local_queries(step, attention);
      const RowBlock tiles = local_block(step, layer.heads[kv_head], block, end, attention);
      attention.score(q, tiles.tiles());
      for (int r = 0; r < unit.n_rows(); ++r) {
        float* weights = attention.scores(r);
        if (!see_window(tiles, step, unit, r, weights)) continue;
        const int64_t at = static_cast<int64_t>(unit.head(r)) * step.n + unit.token(r) - step.first;
        for (int c = 0; c < tiles.n_columns(); ++c) weights[c] -= step.max[at];
        kernels().exp_inplace(weights, tiles.n_columns());
        double* out = received.data() + (unit.head(r) - kv_head * group_) * kAttnBlock;
        for (int c = 0; c < tiles.n_columns(); ++c)
          out[c] += static_cast<double>(weights[c]) / step.sum[at];
      }
    }
    for (int row = std::max(block * kAttnBlock, local_start(step));
         row < std::min(end, (block + 1) * kAttnBlock); ++row) {
      float* out = layer.received.data() + static_cast<int64_t>(row - sorted) * n_heads_;
      for (int g = 0; g < group_; ++g)
        out[kv_head * group_ + g] +=
            static_cast<float>(received[g * kAttnBlock + row - block * kAttnBlock]);
    }
  }

  // Rows beyond the window of the next token become sinks, then blocks. n: tokens so far.
  void sort_rows(BlockLayer& layer, int n) const {
    const int before = sorted_rows(layer);
    int beyond = n - before - rules_.window;
    if (beyond > 0) {
      const int more = std::min(rules_.sinks - layer.n_sinks, beyond);
      layer.n_sinks += more;
      beyond -= more;
    }
    for (; beyond >= rules_.block; beyond -= rules_.block) {
      add_representative(layer, before);
      ++layer.n_blocks;
    }
    layer.received.erase(
        layer.received.begin(),
        layer.received.begin() + static_cast<int64_t>(sorted_rows(layer) - before) * n_heads_);
  }

  // Of the rows after the last block; the first row of layer.received is first_received.
  void add_representative(BlockLayer& layer, int first_received) const {
    const int first = sorted_rows(layer);
    const size_t at = layer.representatives.size();
    layer.representatives.resize(at + static_cast<size_t>(n_heads_) * head_dim_);
    parallel_for(n_heads_, [&](int64_t head) {
      std::vector<int> rows(rules_.block);
      std::iota(rows.begin(), rows.end(), first);
      const auto received = [&](int row) {
        return layer.received[static_cast<int64_t>(row - first_received) * n_heads_ + head];
      };
      std::stable_sort(rows.begin(), rows.end(),
                       [&](int a, int b) { return received(a) > received(b); });
      rows.resize(rules_.repr);
      const std::vector<double> mean =
          mean_key(layer.heads[static_cast<size_t>(head / group_)], rows);
      for (int d = 0; d < head_dim_; ++d)
        layer.representatives[at + head * head_dim_ + d] = static_cast<float>(mean[d]);
    });
  }

  // Of these rows, before RoPE.
  std::vector<double> mean_key(const TileRows& head, const std::vector<int>& rows) const {
    std::vector<double> mean(head_dim_);
    std::vector<float> scratch(static_cast<size_t>(padded(head_dim_)) * kTile);
    for (const int row : rows) {
      const float* keys = codec_->load_keys(head.tile(row / kTile)->keys(), row % kTile + 1,
                                            head_dim_, {}, scratch.data());
      for (int d = 0; d < head_dim_; ++d) mean[d] += keys[d * kTile + row % kTile];
    }
    for (double& value : mean) value /= static_cast<double>(rows.size());
    return mean;
  }

  int n_heads_, n_kv_heads_, group_, head_dim_;
  CodecPtr codec_;
  StepPtr spec_;
  BlockRules rules_;
  std::vector<BlockLayer> layers_;
};

bool BlockRows::remember(StepMemory memory, int n_tokens) {
  if (memory.sizes.size() != 3 || memory.parts.size() != layers_.size() * n_kv_heads_) return false;
  const int sinks = memory.sizes[0], window = memory.sizes[1], topk = memory.sizes[2];
  // With a ratio the prompt's length decided on them.
  const bool by_ratio = std::get<BlockRules>(spec_->rules).ratio.has_value();
  if (sinks < 0 || window < 1 || topk < 0) return false;
  if (!by_ratio && (sinks != rules_.sinks || window != rules_.window || topk != rules_.topk))
    return false;
  rules_.sinks = sinks;
  rules_.window = window;
  rules_.topk = topk;
  for (size_t l = 0; l < layers_.size(); ++l) {
    BlockLayer& layer = layers_[l];
    StepMemory::Part* parts = memory.parts.data() + l * n_kv_heads_;
    const std::vector<int32_t>& numbers = parts[0].numbers;
    if (numbers.size() != 2 || numbers[0] < 0 || numbers[0] > std::min(sinks, n_tokens) ||
        numbers[1] < 0 || numbers[1] > (n_tokens - numbers[0]) / rules_.block)
      return false;
    layer.n_sinks = numbers[0];
    layer.n_blocks = numbers[1];
    const std::vector<float>& floats = parts[0].floats;
    const int64_t n_representing = int64_t{layer.n_blocks} * n_heads_ * head_dim_;
    const int64_t n_received = int64_t{n_tokens - sorted_rows(layer)} * n_heads_;
    if (static_cast<int64_t>(floats.size()) != n_representing + n_received) return false;
    layer.representatives.assign(floats.begin(), floats.begin() + n_representing);
    layer.received.assign(floats.begin() + n_representing, floats.end());
    for (int h = 0; h < n_kv_heads_; ++h) {
      if (!layer.heads[h].assign(n_tokens, 0, std::move(parts[h].pages))) return false;
    }
  }
  return true;
}

}  // namespace

std::unique_ptr<StepRows> make_block_rows(const ModelConfig& config, const CodecPtr& codec,
                                          const StepPtr& rules, int n_prompt) {
  BlockRules blocks = std::get<BlockRules>(rules->rules);
  if (blocks.ratio) {  // longctx_bench's shares of what is kept
    const int length = std::min(n_prompt, config.max_position);
    const int total = static_cast<int>(length * (1.0 - *blocks.ratio));
    blocks.sinks = static_cast<int>(total * 0.021);
    blocks.topk = static_cast<int>(total * 0.324) / blocks.block;
    blocks.window = std::max(blocks.step, total - blocks.sinks - blocks.topk * blocks.block);
  }
  return std::make_unique<BlockRows>(config, codec, rules, blocks);
}

}  // namespace kv
