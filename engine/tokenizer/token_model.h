// The model of a tokenizer: a word -> the ids of its tokens. Two kinds: bpe.h and unigram.h.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/tokenizer/spec.h"

namespace kv {

class TokenModel {
 public:
  virtual ~TokenModel() = default;

  // Of the kind that the spec names. Throws Error(kData) for a spec that contradicts itself.
  static std::unique_ptr<const TokenModel> make(const TokenizerSpec& spec);

  // Appends the ids of a word. What no entry covers gives byte tokens or the unknown token, or
  // nothing where there is neither.
  virtual void encode_word(std::string_view word, std::vector<int32_t>& ids) const = 0;
  // Where a word may be cut without changing an id: the end (> from) of a part that begins at
  // `from`. Texts without a pre-tokenizer are one word of any length; parts of it come again.
  virtual size_t part_end(std::string_view word, size_t from) const;

  int32_t find(std::string_view entry) const;  // -1 where absent
  // By id; "" for ids without one.
  const std::vector<std::string>& entries() const { return entries_; }

 protected:
  explicit TokenModel(const TokenizerSpec& spec);
  // Appends the byte tokens of the text; false, appending nothing, where one of them is missing or
  // the spec asks for none.
  bool append_bytes(std::string_view text, std::vector<int32_t>& ids) const;
  bool has_all_bytes() const;  // append_bytes never fails

 private:
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, int32_t, TextHash, std::equal_to<>> ids_;
  std::vector<std::string> entries_;
  std::array<int32_t, 256> byte_ids_;  // of <0x00> … <0xFF>; -1 where absent or not asked for
};

}  // namespace kv
