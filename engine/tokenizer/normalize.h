// The normalizer of a tokenizer: text -> text, before anything is split.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/regex.h"
#include "engine/tokenizer/spec.h"

namespace kv {

// Throws Error(kData) where a step makes so much more text than there was that it would fill the memory.
void check_growth(size_t before, size_t after, const std::string& where);

class Normalizer {
 public:
  explicit Normalizer(const TokenizerSpec& spec);
  // Whether the text stays as it is, so that it need not be copied.
  bool keeps(std::string_view text) const;
  std::string apply(std::string_view text) const;

 private:
  std::string where_;  // for messages
  std::vector<NormalizerStep> steps_;
  std::vector<Regex> patterns_;  // one for each kReplace that is not literal, in order
  bool only_forms_ = true;       // nothing but Unicode normal forms, which leave ASCII alone
};

}  // namespace kv
