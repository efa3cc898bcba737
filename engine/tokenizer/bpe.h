// Byte-pair encoding of one word: the neighbours whose merge has the lowest rank are joined until
// none is left.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/tokenizer/token_model.h"

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

// The pairs of neighbouring characters between which some merge joins. Between all others a word can
// be cut.
class JoinedPairs {
 public:
  void add_merge(std::string_view left, std::string_view right);
  void finish();  // after the last add_merge
  bool contains(uint32_t left, uint32_t right) const;

 private:
  std::vector<bool> common_;    // of characters with a dense number
  std::vector<uint64_t> rare_;  // the others, sorted
};

class Bpe final : public TokenModel {
 public:
  // Throws Error(kData) for a merge whose parts or result are no vocabulary entries.
  explicit Bpe(const TokenizerSpec& spec);

  void encode_word(std::string_view word, std::vector<int32_t>& ids) const override;
  size_t part_end(std::string_view word, size_t from) const override;

 private:
  void first_symbols(std::string_view word, std::vector<int32_t>& symbols) const;

  std::vector<int32_t> character_ids_;  // of code points below its size
  MergeTable merges_;
  JoinedPairs joined_pairs_;
  bool has_parts_ = false;  // whether part_end looks for places to cut
  int32_t unk_id_ = -1;
  bool fuse_unk_ = false, ignore_merges_ = false;
};

}  // namespace kv
