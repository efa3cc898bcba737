#include "engine/repeat.h"

#include <algorithm>
#include <cmath>

#include "engine/chat_template.h"
#include "engine/output_norms.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

constexpr const char* kAskFirst = "\n\nRepeat the previous context exactly.";
constexpr const char* kAskNext =
    "\n\nRepeat the part of the previous context exactly, starting with";
constexpr int kPostfix = 8;     // last tokens of the piece before, behind kAskNext
constexpr int kQueryRows = 64;  // queries whose weights are held at once

// Rows [first, last) of a head as key columns (tiles of (head_dim, kTile)), after what is there.
class Columns {
 public:
  Columns(const KvCache& cache, const RopeTable& rope, int layer, int kv_head)
      : cache_(cache),
        rope_(rope),
        head_(cache.head(layer, kv_head)),
        head_dim_(cache.head_dim()) {}

  void add(int first, int last) {
    std::vector<float> scratch(padded(head_dim_) * kTile), angles(padded(head_dim_) * kTile);
    const bool rotated = cache_.codec().stores_rotated_keys();
    for (int tile = first / kTile; tile * kTile < last; ++tile) {
      const int n = std::min(kTile, head_.n_rows - tile * kTile);
      const RopeTile turn = rotated ? RopeTile{} : rope_.tile(head_, tile, angles.data());
      const float* keys = cache_.load_keys(head_, tile, n, turn, scratch.data());
      const int from = std::max(first, tile * kTile), to = std::min(last, (tile + 1) * kTile);
      for (int row = from; row < to; ++row) push(keys + row % kTile);
    }
  }
  int count() const { return count_; }
  int n_tiles() const { return (count_ + kTile - 1) / kTile; }
  const float* tile(int t) const {
    return tiles_.data() + static_cast<size_t>(t) * head_dim_ * kTile;
  }

 private:
  void push(const float* column) {
    if (count_ % kTile == 0) tiles_.resize(tiles_.size() + head_dim_ * kTile, 0.0f);
    float* to =
        tiles_.data() + static_cast<size_t>(count_ / kTile) * head_dim_ * kTile + count_ % kTile;
    for (int d = 0; d < head_dim_; ++d) to[d * kTile] = column[d * kTile];
    ++count_;
  }

  const KvCache& cache_;
  const RopeTable& rope_;
  const KvCache::Head& head_;
  int head_dim_, count_ = 0;
  std::vector<float> tiles_;
};

// In place: x (n) -> softmax. The sum runs in double, in order.
void softmax(float* x, int n) {
  const float max = *std::max_element(x, x + n);
  for (int j = 0; j < n; ++j) x[j] -= max;
  kernels().exp_inplace(x, n);
  double sum = 0;
  for (int j = 0; j < n; ++j) sum += x[j];
  for (int j = 0; j < n; ++j) x[j] = static_cast<float>(x[j] / sum);
}

// Factors of the piece's rows for one query head: ||V_j W_O||_2.
std::vector<float> output_factors(const OutputNorms& norms, const KvCache& cache, int layer,
                                  int kv_head, int query_head, const RepeatPass& pass) {
  const int width = padded(cache.head_dim());
  const KvCache::Head& head = cache.head(layer, kv_head);
  std::vector<float> scratch(width * kTile), tile_norms(kTile), out;
  for (int tile = pass.start / kTile; tile * kTile < pass.end; ++tile) {
    const int n = std::min(kTile, head.n_rows - tile * kTile);
    const float* values = cache.load_values(head, tile, n, scratch.data());
    norms.rows(query_head, values, width, n, true, tile_norms.data());
    const int from = std::max(pass.start, tile * kTile);
    const int to = std::min(pass.end, (tile + 1) * kTile);
    for (int row = from; row < to; ++row) out.push_back(tile_norms[row % kTile]);
  }
  return out;
}

double two_norm(const float* x, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return std::sqrt(sum);
}

std::string text_before(const std::string& text, const std::string& mark) {
  return text.substr(0, text.find(mark));
}

}  // namespace

RepeatNeeds resolve_repeat(const RepeatNeeds& needs, const Model& model,
                           std::span<const int32_t> ids) {
  RepeatNeeds resolved = needs;
  if (needs.from_model) {
    const Tokenizer& tokenizer = model.require_tokenizer();
    std::string prefix, suffix = "\n";
    if (model.chat_template) {
      const std::string dummy = "dummy context";
      const ChatTemplate::Split split = model.chat_template->split_user_message(dummy);
      prefix = text_before(split.head, dummy);
      suffix = split.tail;
    }
    resolved.prefix_ids = tokenizer.encode(prefix, false);
    resolved.suffix_ids = tokenizer.encode(suffix, false);
    resolved.first_ids = tokenizer.encode(kAskFirst, false);
    resolved.next_ids = tokenizer.encode(kAskNext, false);
  }
  const std::vector<int32_t>& prefix = resolved.prefix_ids;
  const bool begins =
      prefix.size() < ids.size() && std::equal(prefix.begin(), prefix.end(), ids.begin());
  if (!begins) resolved.prefix_ids.clear();
  return resolved;
}

std::vector<int32_t> repeat_tokens(const RepeatNeeds& needs, std::span<const int32_t> ids,
                                   int start, int end, bool first) {
  std::vector<int32_t> tokens = first ? needs.first_ids : needs.next_ids;
  const auto append = [&](auto begin, auto stop) { tokens.insert(tokens.end(), begin, stop); };
  if (!first) append(ids.begin() + std::max(0, start - kPostfix), ids.begin() + start);
  append(needs.suffix_ids.begin(), needs.suffix_ids.end());
  append(ids.begin() + start, ids.begin() + end);
  return tokens;
}

void score_repeat(const Model& model, const RopeTable& rope, int layer, const KvCache& cache,
                  const float* qkv, int64_t width, const float* x, int n, const RepeatPass& pass) {
  const ModelConfig& config = model.config;
  const int dim = config.head_dim, group = config.group();
  const int n_rows = cache.head(layer, 0).n_rows, n_piece = pass.end - pass.start;
  const int before_own = pass.sinks + n_piece;  // columns that every repeating token sees
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  std::vector<OutputNorms> norms;
  if (pass.plus) norms.emplace_back(model, layer);
  parallel_for(config.n_kv_heads, [&](int64_t kv) {
    const int h = static_cast<int>(kv);
    Columns columns(cache, rope, layer, h);
    columns.add(0, pass.sinks);
    columns.add(pass.start, pass.end);
    columns.add(pass.n_prompt, n_rows);
    const int stride = columns.n_tiles() * kTile;
    std::vector<float> queries(static_cast<size_t>(kQueryRows) * dim);
    std::vector<float> weights(static_cast<size_t>(kQueryRows) * stride);
    float* out = pass.scores +
                 (static_cast<size_t>(layer) * config.n_kv_heads + h) * pass.n_prompt + pass.start;
    for (int i = h * group; i < (h + 1) * group; ++i) {
      std::vector<float> factors(n_piece, 1.0f);
      if (pass.plus) factors = output_factors(norms[0], cache, layer, h, i, pass);
      for (int first = 0; first < n; first += kQueryRows) {
        const int count = std::min(kQueryRows, n - first);
        for (int q = 0; q < count; ++q) {
          float* row = queries.data() + static_cast<size_t>(q) * dim;
          const int position = cache.next_position(layer, h, n_rows - n + first + q);
          std::copy_n(qkv + (first + q) * width + static_cast<int64_t>(i) * dim, dim, row);
          kernels().rotate_row(row, rope.cos_row(position), rope.sin_row(position),
                               rope.rotary_dim());
          kernels().scale(row, scale, dim, row);
        }
        for (int t = 0; t < columns.n_tiles(); ++t) {
          kernels().gemm_f32(queries.data(), dim, count, dim, columns.tile(t), kTile,
                             weights.data() + t * kTile, stride, false);
        }
        for (int q = 0; q < count; ++q) {
          float* row = weights.data() + static_cast<size_t>(q) * stride;
          const int own = n_rows - pass.n_prompt - n + first + q + 1;
          softmax(row, before_own + own);
          const double input =
              pass.plus ? two_norm(x + static_cast<int64_t>(first + q) * config.dim, config.dim)
                        : 1.0;
          for (int j = 0; j < n_piece; ++j) {
            const auto weight = static_cast<float>(row[pass.sinks + j] * factors[j] / input);
            out[j] = std::max(out[j], weight);
          }
        }
      }
    }
  });
}

}  // namespace kv
