// Unigram language model (Kudo 2018, "Subword Regularization"): of all ways to cut a word into
// entries the one with the highest sum of scores (log probabilities).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/tokenizer/byte_trie.h"
#include "engine/tokenizer/token_model.h"

namespace kv {

class Unigram final : public TokenModel {
 public:
  // Throws Error(kData) where the vocabulary is empty or the unknown token is no entry.
  explicit Unigram(const TokenizerSpec& spec);

  // A character that is no entry by itself costs the lowest score less 10. Neighbouring ones are
  // one unknown text, which becomes its byte tokens or the unknown token; without either it is an
  // Error(kData).
  void encode_word(std::string_view word, std::vector<int32_t>& ids) const override;

 private:
  // The best way to cut the word up to here: the last token's first byte and id.
  struct Node {
    double score = 0;
    int64_t begin = -1;  // -1: no way ends here
    int32_t id = -1;
  };
  void find_paths(std::string_view word, std::vector<Node>& ends) const;
  void append_token(std::string_view text, std::vector<int32_t>& ids) const;

  std::string where_;
  std::vector<double> scores_;  // by id
  ByteTrie trie_;
  int32_t unk_id_ = -1;
  double unk_score_ = 0;
  bool fuse_unk_;
};

}  // namespace kv
