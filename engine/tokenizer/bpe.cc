#include "engine/tokenizer/bpe.h"

#include <algorithm>
#include <queue>

#include "engine/error.h"

namespace kv {
namespace {

constexpr uint32_t kTableCharacters = 0x250;  // Latin, which holds all of ByteLevel's spellings

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
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
  const uint64_t pair = pair_key(left, right);
  slots_[slot_of(pair)] = {pair, merge};
}

MergeTable::Merge MergeTable::find(int32_t left, int32_t right) const {
  return slots_[slot_of(pair_key(left, right))].merge;
}

Bpe::Bpe(const TokenizerSpec& spec) : fuse_unk_(spec.fuse_unk), ignore_merges_(spec.ignore_merges) {
  ids_.reserve(spec.vocab.size());
  for (const auto& [entry, id] : spec.vocab) {
    ids_[entry] = id;
    if (static_cast<size_t>(id) >= entries_.size()) entries_.resize(id + 1);
    entries_[id] = entry;
  }
  character_ids_.assign(kTableCharacters, -1);
  for (uint32_t code = 0; code < kTableCharacters; ++code) {
    std::string character;
    append_utf8(code, character);
    character_ids_[code] = find(character);
  }
  merges_.reserve(spec.merges.size());
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto& [left, right] = spec.merges[rank];
    for (const std::string& needed : {left, right, left + right}) {
      if (find(needed) < 0) {
        throw_data("{}: merge {} ('{}' '{}'): '{}' is not in the vocabulary", spec.where, rank,
                   left, right, needed);
      }
    }
    merges_.set(find(left), find(right), {static_cast<uint32_t>(rank), find(left + right)});
  }
  if (spec.has_unk) {
    unk_id_ = find(spec.unk_token);
    if (unk_id_ < 0)
      throw_data("{}: model.unk_token: '{}' is not in the vocabulary", spec.where, spec.unk_token);
  }
}

int32_t Bpe::find(std::string_view entry) const {
  const auto found = ids_.find(entry);
  return found == ids_.end() ? -1 : found->second;
}

void Bpe::first_symbols(std::string_view word, std::vector<int32_t>& symbols) const {
  bool after_unknown = false;
  for (size_t at = 0; at < word.size();) {
    const size_t begin = at;
    const uint32_t code = next_code_point(word, at);
    const int32_t id =
        code < kTableCharacters ? character_ids_[code] : find(word.substr(begin, at - begin));
    if (id >= 0) {
      symbols.push_back(id);
    } else if (unk_id_ >= 0 && !(fuse_unk_ && after_unknown)) {
      symbols.push_back(unk_id_);
    }
    after_unknown = id < 0;
  }
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
