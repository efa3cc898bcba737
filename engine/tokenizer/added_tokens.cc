#include "engine/tokenizer/added_tokens.h"

#include <algorithm>

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

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(const TokenizerSpec& spec, bool normalized,
                                     const Normalizer& normalizer)
    : trie_(1) {
  for (const AddedToken& token : spec.added) {
    if (token.normalized != normalized) continue;
    tokens_.push_back(token);
    const std::string pattern = normalized ? normalizer.apply(token.content) : token.content;
    if (!pattern.empty()) insert(pattern, static_cast<int>(tokens_.size()) - 1);
  }
}

void AddedTokenMatcher::insert(std::string_view text, int token) {
  int node = 0;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    const int fresh = static_cast<int>(trie_.size());
    const auto [child, is_new] = trie_[node].children.try_emplace(byte, fresh);
    node = child->second;
    if (is_new) trie_.emplace_back();
  }
  trie_[node].token = token;
  starts_[static_cast<uint8_t>(text.front())] = true;
}

AddedTokenMatcher::Match AddedTokenMatcher::next_match(std::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<uint8_t>(text[begin])]) continue;
    Match longest;
    int node = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      const auto child = trie_[node].children.find(static_cast<uint8_t>(text[at]));
      if (child == trie_[node].children.end()) break;
      node = child->second;
      if (trie_[node].token >= 0) longest = {trie_[node].token, begin, at + 1};
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
