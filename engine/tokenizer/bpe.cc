#include "engine/tokenizer/bpe.h"

#include <algorithm>
#include <queue>

#include "engine/error.h"
#include "engine/tokenizer/byte_level.h"

namespace kv {
namespace {

constexpr uint32_t kTableCharacters = 0x250;  // Latin, which holds all of ByteLevel's spellings

// A dense number for the characters that most texts are made of: those of the table, and the one
// that SentencePiece writes for the space.
constexpr uint32_t kSpaceMark = 0x2581;
constexpr uint32_t kDenseCharacters = kTableCharacters + 1;

bool is_dense(uint32_t code) {
  return code < kTableCharacters || code == kSpaceMark;
}

size_t dense_pair(uint32_t left, uint32_t right) {
  const auto number = [](uint32_t code) { return std::min(code, kTableCharacters); };
  return size_t{number(left)} * kDenseCharacters + number(right);
}

uint64_t pair_key(uint32_t left, uint32_t right) {
  return uint64_t{left} << 32 | right;
}

// A symbol of the word being merged, in a doubly linked list.
struct Symbol {
  int32_t id;
  int previous, next;  // -1 at the ends
  bool alive = true;
};

struct Candidate {
  uint32_t rank;
  int position;  // of the left symbol
  int32_t id;    // of the joined token
  // For the heap's top: lowest rank, then leftmost.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

class WordMerger {
 public:
  WordMerger(const std::vector<int32_t>& ids, const MergeTable& merges) : merges_(merges) {
    const int n = static_cast<int>(ids.size());
    symbols_.reserve(ids.size());
    for (int i = 0; i < n; ++i) symbols_.push_back({ids[i], i - 1, i + 1 < n ? i + 1 : -1});
    for (int i = 0; i + 1 < n; ++i) propose(i);
  }

  void run() {
    while (!heap_.empty()) {
      const Candidate best = heap_.top();
      heap_.pop();
      Symbol& left = symbols_[best.position];
      if (!left.alive || left.next < 0) continue;
      Symbol& right = symbols_[left.next];
      if (merges_.find(left.id, right.id).id != best.id)
        continue;  // one of the two has changed since
      left.id = best.id;
      right.alive = false;
      left.next = right.next;
      if (left.next >= 0) symbols_[left.next].previous = best.position;
      if (left.previous >= 0) propose(left.previous);
      if (left.next >= 0) propose(best.position);
    }
  }

  void append_to(std::vector<int32_t>& ids) const {
    for (const Symbol& symbol : symbols_) {
      if (symbol.alive) ids.push_back(symbol.id);
    }
  }

 private:
  void propose(int position) {
    const Symbol& left = symbols_[position];
    const MergeTable::Merge merge = merges_.find(left.id, symbols_[left.next].id);
    if (merge.id >= 0) heap_.push({merge.rank, position, merge.id});
  }

  const MergeTable& merges_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Candidate> heap_;
};

}  // namespace

void MergeTable::reserve(size_t n_merges) {
  size_t size = 16;
  while (size < 2 * n_merges) size *= 2;
  slots_.assign(size, Slot());
  mask_ = size - 1;
}

size_t MergeTable::slot_of(uint64_t pair) const {
  uint64_t hash = pair * 0x9E3779B97F4A7C15u;
  hash ^= hash >> 29;
  size_t slot = hash & mask_;
  while (slots_[slot].pair != kEmpty && slots_[slot].pair != pair) slot = (slot + 1) & mask_;
  return slot;
}

void MergeTable::set(int32_t left, int32_t right, Merge merge) {
  const uint64_t pair = pair_key(static_cast<uint32_t>(left), static_cast<uint32_t>(right));
  slots_[slot_of(pair)] = {pair, merge};
}

MergeTable::Merge MergeTable::find(int32_t left, int32_t right) const {
  const uint64_t pair = pair_key(static_cast<uint32_t>(left), static_cast<uint32_t>(right));
  return slots_[slot_of(pair)].merge;
}

void JoinedPairs::add_merge(std::string_view left, std::string_view right) {
  if (common_.empty()) common_.resize(size_t{kDenseCharacters} * kDenseCharacters);
  if (left.empty() || right.empty()) return;
  size_t last = left.size() - 1, first = 0;
  while (last > 0 && (static_cast<uint8_t>(left[last]) & 0xC0) == 0x80) --last;
  const uint32_t before = next_code_point(left, last), behind = next_code_point(right, first);
  if (is_dense(before) && is_dense(behind)) {
    common_[dense_pair(before, behind)] = true;
  } else {
    rare_.push_back(pair_key(before, behind));
  }
}

void JoinedPairs::finish() {
  std::sort(rare_.begin(), rare_.end());
  rare_.erase(std::unique(rare_.begin(), rare_.end()), rare_.end());
}

bool JoinedPairs::contains(uint32_t left, uint32_t right) const {
  if (is_dense(left) && is_dense(right)) return common_[dense_pair(left, right)];
  return std::binary_search(rare_.begin(), rare_.end(), pair_key(left, right));
}

Bpe::Bpe(const TokenizerSpec& spec)
    : TokenModel(spec), fuse_unk_(spec.fuse_unk), ignore_merges_(spec.ignore_merges) {
  character_ids_.assign(kTableCharacters, -1);
  for (uint32_t code = 0; code < kTableCharacters; ++code) {
    std::string character;
    append_utf8(code, character);
    character_ids_[code] = find(character);
  }
  // A word that may be an entry is looked at whole, and fused unknown characters depend on what is
  // beside them; so would byte tokens, if they merged.
  has_parts_ = has_all_bytes() && !ignore_merges_ && !spec.merges.empty();
  merges_.reserve(spec.merges.size());
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto& [left, right] = spec.merges[rank];
    const std::string joined = left + right;
    const int32_t left_id = find(left), right_id = find(right), id = find(joined);
    if (left_id < 0 || right_id < 0 || id < 0) {
      throw_data("{}: merge {} ('{}' '{}'): '{}' is not in the vocabulary", spec.where, rank, left,
                 right,
                 left_id < 0    ? left
                 : right_id < 0 ? right
                                : joined);
    }
    merges_.set(left_id, right_id, {static_cast<uint32_t>(rank), id});
    has_parts_ = has_parts_ && !byte_of_token(left) && !byte_of_token(right);
    if (has_parts_) joined_pairs_.add_merge(left, right);
  }
  joined_pairs_.finish();
  if (spec.has_unk) {
    unk_id_ = find(spec.unk_token);
    if (unk_id_ < 0)
      throw_data("{}: model.unk_token: '{}' is not in the vocabulary", spec.where, spec.unk_token);
  }
}

void Bpe::first_symbols(std::string_view word, std::vector<int32_t>& symbols) const {
  // An unknown token is written before the next known character: byte tokens in between come first,
  // as Hugging Face has it.
  bool unknown = false;
  const auto write_unknown = [&] {
    if (unknown) symbols.push_back(unk_id_);
    unknown = false;
  };
  for (size_t at = 0; at < word.size();) {
    const size_t begin = at;
    const uint32_t code = next_code_point(word, at);
    const std::string_view character = word.substr(begin, at - begin);
    const int32_t id = code < kTableCharacters ? character_ids_[code] : find(character);
    if (id >= 0) {
      write_unknown();
      symbols.push_back(id);
    } else if (!append_bytes(character, symbols) && unk_id_ >= 0) {
      if (!fuse_unk_) write_unknown();
      unknown = true;
    }
  }
  write_unknown();
}

size_t Bpe::part_end(std::string_view word, size_t from) const {
  if (!has_parts_) return word.size();
  uint32_t left = next_code_point(word, from);
  while (from < word.size()) {
    const size_t boundary = from;
    const uint32_t right = next_code_point(word, from);
    if (!joined_pairs_.contains(left, right)) return boundary;
    left = right;
  }
  return word.size();
}

void Bpe::encode_word(std::string_view word, std::vector<int32_t>& ids) const {
  if (ignore_merges_) {
    const int32_t whole = find(word);
    if (whole >= 0) {
      ids.push_back(whole);
      return;
    }
  }
  std::vector<int32_t> symbols;
  symbols.reserve(word.size());
  first_symbols(word, symbols);
  WordMerger merger(symbols, merges_);
  merger.run();
  merger.append_to(ids);
}

}  // namespace kv
