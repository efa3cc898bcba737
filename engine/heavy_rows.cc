#include "engine/heavy_rows.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <utility>

#include "engine/error.h"
#include "engine/folded_attention.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

constexpr int32_t kFree = -1;
// The score of a row that a query head no longer keeps; others are >= 0.
constexpr float kGone = -1;
constexpr int kTilesPerBlock = kAttnBlock / kTile;

// Whether a query head may lose a row for its score: it holds it, and the row is older than `recent`.
inline bool competes(float score, int32_t token, int32_t recent) {
  return (score != kGone) & (token < recent);
}

}  // namespace

HeavyRows::HeavyRows(const ModelConfig& config, CodecPtr codec, StepPtr rules,
                     const std::vector<double>& attention_received, int n_prompt)
    : n_kv_heads_(config.n_kv_heads),
      group_(config.group()),
      head_dim_(config.head_dim),
      codec_(std::move(codec)),
      rules_(std::move(rules)),
      n_tokens_(n_prompt),
      slots_(static_cast<size_t>(config.n_layers) * config.n_kv_heads) {
  const bool scored = std::get<HeavyRules>(rules_->rules).prefill_scores;
  if (scored) fix_sizes(n_prompt);
  parallel_for(static_cast<int64_t>(slots_.size()), [&](int64_t i) {
    Slots& slots = slots_[i];
    for (int32_t j = 0; j < n_prompt; ++j) new_slot(slots, j);
    if (!scored) return;
    for (int g = 0; g < group_; ++g) {
      const double* received = attention_received.data() + (i * group_ + g) * n_prompt;
      for (int j = 0; j < n_prompt; ++j)
        slots.scores[score_at(j, g)] = static_cast<float>(received[j]);
    }
    evict(slots, n_prompt);
    pack(slots);
  });
}

void HeavyRows::fix_sizes(int n) {
  const HeavyRules& rules = std::get<HeavyRules>(rules_->rules);
  heavy_ = static_cast<int>(rules.heavy * n);
  recent_ = static_cast<int>(rules.recent * n);
  // Very short prompts: something has to stay.
  if (heavy_ + recent_ == 0) recent_ = 1;
}

void HeavyRows::adopt_pages(KvCache& cache) {
  for (size_t i = 0; i < slots_.size(); ++i) {
    const int layer = static_cast<int>(i) / n_kv_heads_, h = static_cast<int>(i) % n_kv_heads_;
    KvCache::Head& head = cache.head(layer, h);
    KV_CHECK(head.n_rows == static_cast<int>(slots_[i].tokens.size()));
    slots_[i].pages = std::move(head.pages);
    head = {};
  }
}

// The lowest free slot or one more, kept by every query head, with no score yet.
int HeavyRows::new_slot(Slots& slots, int32_t token) const {
  int slot = static_cast<int>(slots.tokens.size());
  if (slots.n_free > 0) {
    slot = static_cast<int>(std::find(slots.tokens.begin(), slots.tokens.end(), kFree) -
                            slots.tokens.begin());
    --slots.n_free;
  } else {
    slots.tokens.push_back(kFree);
    slots.scores.resize(n_scores(slots), kGone);
  }
  slots.tokens[slot] = token;
  for (int g = 0; g < group_; ++g) slots.scores[score_at(slot, g)] = 0;
  return slot;
}

void HeavyRows::append(int layer, int kv_head, const float* keys, const float* values,
                       int64_t stride, int n) {
  KV_CHECK(n == 1, "{} tokens in a pass", n);
  Slots& slots = at(layer, kv_head);
  const int slot = new_slot(slots, n_tokens_);
  if (slot / kTile == static_cast<int>(slots.pages.size())) {
    slots.pages.push_back(
        PageRef::allocate(codec_->key_tile_bytes(head_dim_), codec_->value_tile_bytes(head_dim_)));
  }
  PageRef& page = slots.pages[slot / kTile];
  codec_->encode_keys(keys, stride, slot % kTile, 1, head_dim_, page.writable_keys());
  codec_->encode_values(values, stride, slot % kTile, 1, head_dim_, page.writable_values());
}

void HeavyRows::attend(const ModelConfig& config, const RopeTable& rope, int layer,
                       const AttentionInput& input) {
  KV_CHECK(input.n_tokens == 1 && input.first_token == n_tokens_);
  if (heavy_ + recent_ == 0) fix_sizes(n_tokens_ + 1);
  parallel_for(n_kv_heads_, [&](int64_t h) {
    Slots& slots = at(layer, static_cast<int>(h));
    attend_head(rope, slots, {&input, static_cast<int>(h), config.group(), 0, 1});
    evict(slots, n_tokens_ + 1);
    if (slots.n_free >= kTile) pack(slots);
  });
}

namespace {

// The tiles of one block of slots, keys rotated where their tokens stood.
struct SlotTiles {
  FoldedAttention::Tile tiles[kTilesPerBlock];
  int n = 0;

  SlotTiles(const RopeTable& rope, const std::vector<PageRef>& pages,
            const std::vector<int32_t>& tokens, int block, FoldedAttention& attention) {
    const int n_slots = static_cast<int>(tokens.size());
    for (int t = block * kTilesPerBlock; n < kTilesPerBlock && t * kTile < n_slots; ++t, ++n) {
      if (n == 0) pages[t].prefetch_keys();
      int32_t positions[kTile];
      const int n_rows = std::min(kTile, n_slots - t * kTile);
      for (int r = 0; r < n_rows; ++r) positions[r] = std::max(0, tokens[t * kTile + r]);
      tiles[n] = {n * kTile, n_rows, &pages[t],
                  rope.gather(positions, n_rows, attention.rope_scratch(n))};
    }
  }
  std::span<const FoldedAttention::Tile> span() const { return {tiles, static_cast<size_t>(n)}; }
};

}  // namespace

void HeavyRows::attend_head(const RopeTable& rope, Slots& slots, const QueryRows& unit) const {
  FoldedAttention& attention = FoldedAttention::start(*codec_, head_dim_, unit);
  const float* q = attention.load_queries(0, rope, [&](int) { return n_tokens_; });
  const int n_slots = static_cast<int>(slots.tokens.size());
  const int n_blocks = (n_slots + kAttnBlock - 1) / kAttnBlock;
  thread_local std::vector<float> weights;  // as the scores: what the softmax of each block gave
  thread_local std::vector<float> factors;  // (group, blocks): the largest logit of each block
  weights.resize(slots.scores.size());
  factors.resize(static_cast<size_t>(group_) * n_blocks);
  for (int block = 0; block < n_blocks; ++block) {
    const SlotTiles tiles(rope, slots.pages, slots.tokens, block, attention);
    attention.fold(q, tiles.span(), [&](int g, float* logits) {
      int n_kept = 0;
      for (int t = 0; t < tiles.n; ++t) {
        float* x = logits + t * kTile;
        const float* kept = slots.scores.data() + score_at(block * kAttnBlock + t * kTile, g);
        for (int c = 0; c < kTile; ++c) {
          x[c] = kept[c] == kGone ? -std::numeric_limits<float>::infinity() : x[c];
          n_kept += static_cast<int>(kept[c] != kGone);
        }
      }
      return n_kept > 0;
    });
    const int n_columns = std::min(kAttnBlock, n_slots - block * kAttnBlock);
    for (int g = 0; g < group_; ++g) {
      factors[static_cast<size_t>(g) * n_blocks + block] = attention.block_max(g);
      float* of_block = attention.scores(g);
      std::fill(of_block + n_columns, of_block + tiles.n * kTile, 0.0f);
      for (int t = 0; t < tiles.n; ++t)
        std::copy_n(of_block + t * kTile, kTile,
                    weights.data() + score_at(block * kAttnBlock + t * kTile, g));
    }
  }
  for (int g = 0; g < group_; ++g) {
    attention.write(g);
    float* of_head = factors.data() + static_cast<size_t>(g) * n_blocks;
    for (int b = 0; b < n_blocks; ++b) of_head[b] -= attention.max(g);
    kernels().exp_inplace(of_head, n_blocks);
    for (int b = 0; b < n_blocks; ++b) of_head[b] /= attention.sum(g);
    add_weights(weights.data(), of_head, g, slots);
  }
}

// Every row's softmax weight goes to its score: what the softmax of its block gave, times the block's
// factor.
void HeavyRows::add_weights(const float* weights, const float* factors, int g, Slots& slots) const {
  const int n_slots = static_cast<int>(slots.tokens.size());
  for (int first = 0; first < n_slots; first += kTile) {
    const float factor = factors[first / kAttnBlock], *of_tile = weights + score_at(first, g);
    float* scores = slots.scores.data() + score_at(first, g);
    for (int c = 0; c < kTile; ++c) scores[c] += of_tile[c] * factor;
  }
}

// n: tokens so far, the one just attended included.
void HeavyRows::evict(Slots& slots, int n) const {
  if (n <= heavy_ + recent_) return;
  for (int g = 0; g < group_; ++g) evict_for(slots, g, n - recent_);
}

// Of the kept rows of tokens before `recent` the best stay.
void HeavyRows::evict_for(Slots& slots, int g, int32_t recent) const {
  const Competing competing = competing_of(slots, g, recent);
  if (competing.n <= heavy_) return;
  if (competing.n == heavy_ + 1) {  // the usual step
    give_up(slots, competing.worst, g);
    return;
  }
  std::vector<int> rows;
  for (int slot = 0; slot < static_cast<int>(slots.tokens.size()); ++slot) {
    if (competes(slots.scores[score_at(slot, g)], slots.tokens[slot], recent)) rows.push_back(slot);
  }
  const auto worst = rows.begin() + heavy_;
  std::nth_element(rows.begin(), worst, rows.end(), [&](int a, int b) {
    const float score_a = slots.scores[score_at(a, g)], score_b = slots.scores[score_at(b, g)];
    return score_a != score_b ? score_a > score_b : slots.tokens[a] < slots.tokens[b];
  });
  for (auto slot = worst; slot != rows.end(); ++slot) give_up(slots, *slot, g);
}

// How many there are, and the slot of the one with the lowest score (of equal ones the newest).
HeavyRows::Competing HeavyRows::competing_of(const Slots& slots, int g, int32_t recent) const {
  constexpr float kNone = std::numeric_limits<float>::infinity();
  Competing found;
  float lowest = kNone;
  const int n_slots = static_cast<int>(slots.tokens.size());
  for (int first = 0; first < n_slots; first += kTile) {
    const float* scores = slots.scores.data() + score_at(first, g);
    const int32_t* tokens = slots.tokens.data() + first;
    const int n = std::min(kTile, n_slots - first);
    float competing[kTile];
    std::fill_n(competing, kTile, kNone);
    int n_competing = 0;
    for (int c = 0; c < n; ++c) {
      const bool counts = competes(scores[c], tokens[c], recent);
      competing[c] = counts ? scores[c] : kNone;
      n_competing += static_cast<int>(counts);
    }
    found.n += n_competing;
    for (int width = kTile / 2; width > 0; width /= 2) {  // the lowest to the front
      for (int c = 0; c < width; ++c)
        competing[c] = competing[c + width] < competing[c] ? competing[c + width] : competing[c];
    }
    if (n_competing == 0 || competing[0] > lowest) continue;
    lowest = competing[0];
    for (int c = 0; c < n; ++c) {
      if (scores[c] != lowest || tokens[c] >= recent) continue;
      const bool first_one = found.worst < 0 || slots.scores[score_at(found.worst, g)] != lowest;
      if (first_one || tokens[c] > slots.tokens[found.worst]) found.worst = first + c;
    }
  }
  return found;
}

// Query head g keeps a row no longer; without any of them its slot is free.
void HeavyRows::give_up(Slots& slots, int slot, int g) const {
  slots.scores[score_at(slot, g)] = kGone;
  for (int other = 0; other < group_; ++other) {
    if (slots.scores[score_at(slot, other)] != kGone) return;
  }
  slots.tokens[slot] = kFree;
  ++slots.n_free;
}

// Rows move from the end into the free slots, and the tiles that are left over are given back. Before
// any page is there (a prompt) rows are only renumbered, and stay in order.
void HeavyRows::pack(Slots& slots) const {
  const bool in_order = slots.pages.empty();
  int n_slots = static_cast<int>(slots.tokens.size()), to = 0;
  if (in_order) {
    for (int from = 0; from < n_slots; ++from) {
      if (slots.tokens[from] != kFree) move_row(slots, from, to++);
    }
    n_slots = to;
  } else {
    for (;; ++to) {
      while (n_slots > to && slots.tokens[n_slots - 1] == kFree) --n_slots;
      while (to < n_slots && slots.tokens[to] != kFree) ++to;
      if (to >= n_slots) break;
      move_row(slots, --n_slots, to);
    }
    slots.pages.resize((static_cast<size_t>(n_slots) + kTile - 1) / kTile);
  }
  slots.tokens.resize(n_slots);
  slots.scores.resize(n_scores(slots));
  slots.tokens.shrink_to_fit();
  slots.scores.shrink_to_fit();
  slots.n_free = 0;
}

void HeavyRows::move_row(Slots& slots, int from, int to) const {
  if (from == to) return;
  slots.tokens[to] = std::exchange(slots.tokens[from], kFree);
  for (int g = 0; g < group_; ++g)
    slots.scores[score_at(to, g)] = std::exchange(slots.scores[score_at(from, g)], kGone);
  if (slots.pages.empty()) return;
  // Plain numbers: what is read encodes to the same bits.
  const size_t width = static_cast<size_t>(padded(head_dim_));
  std::vector<float> scratch(width * kTile), key(head_dim_);
  const float* keys = codec_->load_keys(slots.pages[from / kTile].keys(), from % kTile + 1,
                                        head_dim_, {}, scratch.data());
  for (int d = 0; d < head_dim_; ++d) key[d] = keys[d * kTile + from % kTile];
  PageRef& target = slots.pages[to / kTile];
  codec_->encode_keys(key.data(), head_dim_, to % kTile, 1, head_dim_, target.writable_keys());
  const float* values = codec_->load_values(slots.pages[from / kTile].values(), from % kTile + 1,
                                            head_dim_, scratch.data());
  const std::vector<float> value(values + (from % kTile) * width,
                                 values + (from % kTile) * width + head_dim_);
  codec_->encode_values(value.data(), head_dim_, to % kTile, 1, head_dim_,
                        target.writable_values());
}

std::vector<int32_t> HeavyRows::held(int layer, int kv_head) const {
  const Slots& slots = slots_[static_cast<size_t>(layer) * n_kv_heads_ + kv_head];
  std::vector<int32_t> rows;
  for (const int32_t token : slots.tokens) {
    if (token != kFree) rows.push_back(token);
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

int64_t HeavyRows::rows_seen() const {
  int64_t total = 0;
  for (const Slots& slots : slots_)
    total += static_cast<int64_t>(slots.tokens.size()) - slots.n_free;
  return total;
}

size_t HeavyRows::bytes_in_use() const {
  const size_t row_bytes =
      (codec_->key_tile_bytes(head_dim_) + codec_->value_tile_bytes(head_dim_)) / kTile;
  const size_t slot_bytes =
      row_bytes + sizeof(int32_t) + static_cast<size_t>(group_) * sizeof(float);
  return static_cast<size_t>(rows_seen()) * slot_bytes;
}

size_t HeavyRows::bytes_allocated() const {
  size_t total = 0;
  for (const Slots& slots : slots_) {
    for (const PageRef& page : slots.pages) total += page.bytes();
    total += slots.tokens.capacity() * sizeof(int32_t) + slots.scores.capacity() * sizeof(float);
  }
  return total;
}

StepMemory HeavyRows::memory() const {
  StepMemory memory{{heavy_, recent_}, {}};
  for (const Slots& slots : slots_)
    memory.parts.push_back({slots.tokens, slots.scores, slots.pages});
  return memory;
}

bool HeavyRows::remember(StepMemory memory, int n_tokens) {
  if (memory.sizes.size() != 2 || memory.parts.size() != slots_.size()) return false;
  if (memory.sizes[0] < 0 || memory.sizes[1] < 0) return false;
  heavy_ = memory.sizes[0];
  recent_ = memory.sizes[1];
  n_tokens_ = n_tokens;
  for (size_t i = 0; i < slots_.size(); ++i) {
    StepMemory::Part& part = memory.parts[i];
    const size_t n_tiles = (part.numbers.size() + kTile - 1) / kTile;
    if (n_tiles == 0 || part.floats.size() != n_tiles * tile_scores() ||
        part.pages.size() != n_tiles)
      return false;
    slots_[i] = {std::move(part.pages), std::move(part.numbers), std::move(part.floats), 0};
    if (!consistent(slots_[i], n_tokens)) return false;
  }
  return true;
}

// Every slot holds a row of its own, kept by somebody, or is counted as free and kept by nobody.
bool HeavyRows::consistent(Slots& slots, int n_tokens) const {
  const int n_slots = static_cast<int>(slots.tokens.size());
  std::set<int32_t> tokens;
  for (int slot = 0; slot < static_cast<int>(slots.pages.size()) * kTile; ++slot) {
    bool kept = false;
    for (int g = 0; g < group_; ++g) {
      const float score = slots.scores[score_at(slot, g)];
      if (score != kGone && !(score >= 0)) return false;
      kept |= score != kGone;
    }
    const int32_t token = slot < n_slots ? slots.tokens[slot] : kFree;
    if (kept != (token != kFree)) return false;
    if (kept && (token < 0 || token >= n_tokens || !tokens.insert(token).second)) return false;
    slots.n_free += static_cast<int>(slot < n_slots && !kept);
  }
  return true;
}

}  // namespace kv
