// Added tokens: entries beside the model's vocabulary that are cut out of the text before it is
// split into words.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/tokenizer/byte_trie.h"
#include "engine/tokenizer/normalize.h"
#include "engine/tokenizer/spec.h"

namespace kv {

// A stretch of text: an added token (id >= 0), or text between them (id -1), in bytes.
struct Section {
  int32_t id = -1;
  size_t begin = 0, end = 0;
};

class AddedTokenMatcher {
 public:
  // normalized: which of the added tokens: those that are looked for in the normalised text, or the
  // others.
  AddedTokenMatcher(const TokenizerSpec& spec, bool normalized, const Normalizer& normalizer);

  bool empty() const { return tokens_.empty(); }
  // At each place the longest token wins; then its flags decide whether it stands and how much
  // white space it takes. Where a token takes the space in which another one begins, sections
  // overlap, as Hugging Face's do.
  std::vector<Section> split(std::string_view text) const;

 private:
  struct Match {
    int token = -1;
    size_t begin = 0, end = 0;
  };
  Match next_match(std::string_view text, size_t from) const;  // token -1: none

  std::vector<AddedToken> tokens_;
  ByteTrie trie_;  // what is looked for -> index into tokens_
};

}  // namespace kv
