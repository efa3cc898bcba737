// Byte-pair encoding of one word: the neighbours whose merge has the lowest rank are joined until
// none is left.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/tokenizer/spec.h"

namespace kv {

// (left id, right id) -> rank and the id of the joined token. Open addressing: it is asked for
// every pair of every word.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank = 0;
    int32_t id = -1;  // -1: the two do not merge
  };
  void reserve(size_t n_merges);
  void set(int32_t left, int32_t right, Merge merge);  // a pair given twice takes the later rank
  Merge find(int32_t left, int32_t right) const;

 private:
  struct Slot {
    uint64_t pair = kEmpty;
    Merge merge;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  size_t slot_of(uint64_t pair) const;
  std::vector<Slot> slots_;  // a power of two of them
  uint64_t mask_ = 0;
};

class Bpe {
 public:
  // Throws Error(kData) for a merge whose parts or result are no vocabulary entries.
  explicit Bpe(const TokenizerSpec& spec);

  // Appends the ids of a word. Characters that are no entry give the unknown token, or nothing
  // where there is none.
  void encode_word(std::string_view word, std::vector<int32_t>& ids) const;

  int32_t find(std::string_view entry) const;  // -1 where absent
  const std::vector<std::string>& entries() const {
    return entries_;
  }  // by id; "" for ids without one
  size_t entry_count() const { return ids_.size(); }

 private:
  void first_symbols(std::string_view word, std::vector<int32_t>& symbols) const;

  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, int32_t, TextHash, std::equal_to<>> ids_;
  std::vector<std::string> entries_;
  std::vector<int32_t> character_ids_;  // of code points below its size
  MergeTable merges_;
  int32_t unk_id_ = -1;
  bool fuse_unk_ = false, ignore_merges_ = false;
};

}  // namespace kv
