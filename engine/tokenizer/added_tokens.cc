#include "engine/tokenizer/added_tokens.h"

#include <algorithm>
#include <iterator>

namespace kv {
namespace {

// The code point that ends right before `at`.
uint32_t previous_code_point(std::string_view text, size_t at, size_t& begin) {
  begin = at - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  size_t cursor = begin;
  return next_code_point(text, cursor);
}

size_t space_begin(std::string_view text, size_t end) {
  while (end > 0) {
    size_t begin = 0;
    if (!is_white_space(previous_code_point(text, end, begin))) break;
    end = begin;
  }
  return end;
}

size_t space_end(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    size_t next = begin;
    if (!is_white_space(next_code_point(text, next))) break;
    begin = next;
  }
  return begin;
}

bool touches_word(std::string_view text, size_t begin, size_t end) {
  size_t cursor = end;
  if (end < text.size() && is_word(next_code_point(text, cursor))) return true;
  return begin > 0 && is_word(previous_code_point(text, begin, cursor));
}

std::vector<AddedToken> tokens_of(const TokenizerSpec& spec, bool normalized) {
  std::vector<AddedToken> tokens;
  std::copy_if(spec.added.begin(), spec.added.end(), std::back_inserter(tokens),
               [&](const AddedToken& token) { return token.normalized == normalized; });
  return tokens;
}

ByteTrie trie_of(const std::vector<AddedToken>& tokens, bool normalized,
                 const Normalizer& normalizer) {
  std::vector<std::string> patterns;
  for (const AddedToken& token : tokens)
    patterns.push_back(normalized ? normalizer.apply(token.content) : token.content);
  std::vector<std::pair<std::string_view, int32_t>> entries;
  for (const std::string& pattern : patterns)
    entries.emplace_back(pattern, static_cast<int32_t>(entries.size()));
  return ByteTrie(std::move(entries));
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(const TokenizerSpec& spec, bool normalized,
                                     const Normalizer& normalizer)
    : tokens_(tokens_of(spec, normalized)), trie_(trie_of(tokens_, normalized, normalizer)) {}

AddedTokenMatcher::Match AddedTokenMatcher::next_match(std::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    Match longest;
    int32_t node = ByteTrie::kRoot;
    for (size_t at = begin; at < text.size(); ++at) {
      node = trie_.child(node, static_cast<uint8_t>(text[at]));
      if (node < 0) break;
      if (trie_.value(node) >= 0) longest = {trie_.value(node), begin, at + 1};
    }
    if (longest.token >= 0) return longest;
  }
  return {};
}

std::vector<Section> AddedTokenMatcher::split(std::string_view text) const {
  std::vector<Section> sections;
  size_t done = 0;  // end of the last section
  if (!tokens_.empty()) {
    for (Match match = next_match(text, 0); match.token >= 0; match = next_match(text, match.end)) {
      const AddedToken& token = tokens_[match.token];
      size_t begin = match.begin, end = match.end;
      if (token.single_word && touches_word(text, begin, end)) continue;
      if (token.lstrip) begin = std::max(space_begin(text, begin), done);
      if (token.rstrip) end = space_end(text, end);
      if (done < begin) sections.push_back({-1, done, begin});
      sections.push_back({token.id, begin, end});
      done = end;
    }
  }
  if (done != text.size()) sections.push_back({-1, done, text.size()});
  return sections;
}

}  // namespace kv
