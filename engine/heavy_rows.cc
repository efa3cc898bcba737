#include "engine/heavy_rows.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "engine/error.h"
#include "engine/folded_attention.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

constexpr int32_t kFree = -1;
constexpr int kTilesPerBlock = kAttnBlock / kTile;

}  // namespace

HeavyRows::HeavyRows(const ModelConfig& config, CodecPtr codec, StepPtr rules,
                     const std::vector<double>& attention_received, int n_prompt)
    : n_kv_heads_(config.n_kv_heads),
      group_(config.group()),
      head_dim_(config.head_dim),
      mask_bytes_((config.group() + 7) / 8),
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
        slots.scores[static_cast<size_t>(j) * group_ + g] = static_cast<float>(received[j]);
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

void HeavyRows::set_kept(Slots& slots, int slot, int g, bool keep) const {
  uint8_t& bits = slots.kept[static_cast<size_t>(slot) * mask_bytes_ + g / 8];
  const auto bit = static_cast<uint8_t>(1u << (g % 8));
  bits = static_cast<uint8_t>(keep ? bits | bit : bits & ~bit);
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
    slots.kept.resize(slots.kept.size() + mask_bytes_);
    slots.scores.resize(slots.scores.size() + group_);
  }
  slots.tokens[slot] = token;
  for (int g = 0; g < group_; ++g) {
    set_kept(slots, slot, g, true);
    slots.scores[static_cast<size_t>(slot) * group_ + g] = 0;
  }
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
  thread_local std::vector<float> logits;  // (group, n_slots) of all slots, kept or not
  logits.resize(static_cast<size_t>(group_) * n_slots);
  for (int first = 0; first < n_slots; first += kAttnBlock) {
    const SlotTiles tiles(rope, slots.pages, slots.tokens, first / kAttnBlock, attention);
    const int n_columns = std::min(kAttnBlock, n_slots - first);
    attention.fold(q, tiles.span(), [&](int g, float* scores) {
      std::copy_n(scores, n_columns, logits.data() + static_cast<int64_t>(g) * n_slots + first);
      bool any = false;
      for (int c = 0; c < n_columns; ++c) {
        const bool kept = keeps(slots, first + c, g);
        scores[c] = kept ? scores[c] : -std::numeric_limits<float>::infinity();
        any |= kept;
      }
      return any;
    });
  }
  for (int g = 0; g < group_; ++g) {
    attention.write(g);
    add_weights(logits.data() + static_cast<int64_t>(g) * n_slots, g, attention, slots);
  }
}

// Every row's softmax weight goes to its score. weights: the logits of query head g.
void HeavyRows::add_weights(float* weights, int g, const FoldedAttention& attention,
                            Slots& slots) const {
  const int n_slots = static_cast<int>(slots.tokens.size());
  const float max = attention.max(g), sum = attention.sum(g);
  for (int slot = 0; slot < n_slots; ++slot) weights[slot] -= max;
  kernels().exp_inplace(weights, n_slots);
  for (int slot = 0; slot < n_slots; ++slot) weights[slot] /= sum;
  for (int slot = 0; slot < n_slots; ++slot) {
    float& score = slots.scores[static_cast<size_t>(slot) * group_ + g];
    score = keeps(slots, slot, g) ? score + weights[slot] : score;
  }
}

// n: tokens so far, the one just attended included.
void HeavyRows::evict(Slots& slots, int n) const {
  if (n <= heavy_ + recent_) return;
  for (int g = 0; g < group_; ++g) evict_for(slots, g, n);
}

void HeavyRows::evict_for(Slots& slots, int g, int n) const {
  const int n_slots = static_cast<int>(slots.tokens.size());
  std::vector<int> competing(slots.tokens.size());
  int n_competing = 0;
  for (int slot = 0; slot < n_slots; ++slot) {  // nobody keeps a free one
    competing[n_competing] = slot;
    n_competing += static_cast<int>(slots.tokens[slot] < n - recent_) & keeps(slots, slot, g);
  }
  if (n_competing <= heavy_) return;
  competing.resize(n_competing);
  const auto worst = competing.begin() + heavy_;
  const auto better = [&](int a, int b) {
    const float score_a = slots.scores[static_cast<size_t>(a) * group_ + g],
                score_b = slots.scores[static_cast<size_t>(b) * group_ + g];
    return score_a != score_b ? score_a > score_b : slots.tokens[a] < slots.tokens[b];
  };
  if (n_competing == heavy_ + 1) {  // the usual step: the last one of all
    std::iter_swap(std::max_element(competing.begin(), competing.end(), better), worst);
  } else {
    std::nth_element(competing.begin(), worst, competing.end(), better);
  }
  for (auto slot = worst; slot != competing.end(); ++slot) {
    set_kept(slots, *slot, g, false);
    free_if_unkept(slots, *slot);
  }
}

void HeavyRows::free_if_unkept(Slots& slots, int slot) const {
  const auto mask = slots.kept.begin() + static_cast<long>(slot) * mask_bytes_;
  if (std::any_of(mask, mask + mask_bytes_, [](uint8_t bits) { return bits != 0; })) return;
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
  slots.kept.resize(static_cast<size_t>(n_slots) * mask_bytes_);
  slots.scores.resize(static_cast<size_t>(n_slots) * group_);
  slots.tokens.shrink_to_fit();
  slots.kept.shrink_to_fit();
  slots.scores.shrink_to_fit();
  slots.n_free = 0;
}

void HeavyRows::move_row(Slots& slots, int from, int to) const {
  if (from == to) return;
  slots.tokens[to] = slots.tokens[from];
  std::copy_n(slots.kept.begin() + static_cast<long>(from) * mask_bytes_, mask_bytes_,
              slots.kept.begin() + static_cast<long>(to) * mask_bytes_);
  std::copy_n(slots.scores.begin() + static_cast<long>(from) * group_, group_,
              slots.scores.begin() + static_cast<long>(to) * group_);
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
  const size_t slot_bytes = row_bytes + sizeof(int32_t) + static_cast<size_t>(mask_bytes_) +
                            static_cast<size_t>(group_) * sizeof(float);
  return static_cast<size_t>(rows_seen()) * slot_bytes;
}

size_t HeavyRows::bytes_allocated() const {
  size_t total = 0;
  for (const Slots& slots : slots_) {
    for (const PageRef& page : slots.pages) total += page.bytes();
    total += slots.tokens.capacity() * sizeof(int32_t) + slots.kept.capacity() +
             slots.scores.capacity() * sizeof(float);
  }
  return total;
}

StepMemory HeavyRows::memory() const {
  StepMemory memory{{heavy_, recent_}, {}};
  for (const Slots& slots : slots_)
    memory.parts.push_back({slots.tokens, slots.scores, slots.kept, slots.pages});
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
    const size_t n = part.numbers.size();
    if (n == 0 || part.floats.size() != n * group_ || part.bits.size() != n * mask_bytes_ ||
        part.pages.size() != (n + kTile - 1) / kTile)
      return false;
    std::set<int32_t> tokens;
    int n_free = 0;
    for (const int32_t token : part.numbers) {
      if (token == kFree) {
        ++n_free;
      } else if (token < 0 || token >= n_tokens || !tokens.insert(token).second) {
        return false;
      }
    }
    slots_[i] = {std::move(part.pages), std::move(part.numbers), std::move(part.bits),
                 std::move(part.floats), n_free};
  }
  return true;
}

}  // namespace kv
