// Oniguruma, the regular-expression engine that the Python tokenizers bind, with the same syntax
// and options.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

// A part of a text, in bytes.
struct Span {
  size_t begin = 0, end = 0;
  bool is_match = true;
};

class Regex {
 public:
  // where: what an error calls it ("tokenizer.json: pre_tokenizer.pattern"). Throws Error(kData)
  // for a bad pattern.
  Regex(std::string_view pattern, std::string where);

  // Every match from left to right, appended. An empty match right behind the last match is
  // skipped. Several threads may search at once. Throws Error(kData) where the engine gives up (its
  // backtracking limit).
  void find_all(std::string_view text, std::vector<Span>& matches) const;

 private:
  std::shared_ptr<void> compiled_;
  std::string where_;
};

// A pattern that matches exactly this text.
std::string escape_regex(std::string_view text);

}  // namespace kv
