// The pre-tokenizer: text -> words, inside which the BPE merges work.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/regex.h"
#include "engine/tokenizer/spec.h"

namespace kv {

// Words that refer to the text or to memory of their own (ByteLevel spells the text anew).
class Words {
 public:
  std::vector<std::string_view> items;
  // Room for `size` bytes that stays where it is as long as this object lives.
  char* allocate(size_t size);

 private:
  static constexpr size_t kBlockBytes = 1 << 16;
  std::vector<std::unique_ptr<char[]>> blocks_;
  size_t left_ = 0;  // unused bytes of the last block
  char* next_ = nullptr;
};

class PreTokenizer {
 public:
  explicit PreTokenizer(const TokenizerSpec& spec);
  // The words of a text, left to right. The text must be valid UTF-8 and outlive them. at_start: it
  // begins where the whole input does.
  Words split(std::string_view text, bool at_start) const;

 private:
  struct Step {
    PreTokenizerStep spec;
    std::shared_ptr<const Regex> pattern;  // kSplit, and kByteLevel with use_regex
  };
  // Appends the parts of a word. Returns whether the first one begins where the word does.
  bool split_word(const Step& step, std::string_view word, bool at_start, std::vector<Span>& spans,
                  Words& out) const;

  std::string where_;  // for messages
  std::vector<Step> steps_;
};

}  // namespace kv
