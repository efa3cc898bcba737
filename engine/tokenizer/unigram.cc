#include "engine/tokenizer/unigram.h"

#include <algorithm>
#include <limits>

#include "engine/error.h"

namespace kv {
namespace {

constexpr double kUnknownPenalty = 10.0;

std::vector<std::pair<std::string_view, int32_t>> texts_of(const TokenizerSpec& spec) {
  return {spec.vocab.begin(), spec.vocab.end()};
}

}  // namespace

Unigram::Unigram(const TokenizerSpec& spec)
    : TokenModel(spec), where_(spec.where), trie_(texts_of(spec)), fuse_unk_(spec.fuse_unk) {
  KV_CHECK(spec.scores.size() == spec.vocab.size(), "{} scores of {} entries", spec.scores.size(),
           spec.vocab.size());
  if (spec.vocab.empty()) throw_data("{}: model.vocab is empty", spec.where);
  double lowest = std::numeric_limits<double>::infinity();
  scores_.resize(entries().size());
  for (size_t i = 0; i < spec.vocab.size(); ++i) {
    scores_[spec.vocab[i].second] = spec.scores[i];
    lowest = std::min(lowest, spec.scores[i]);
  }
  unk_score_ = lowest - kUnknownPenalty;
  if (!spec.has_unk) return;
  unk_id_ = find(spec.unk_token);
  if (unk_id_ < 0)
    throw_data("{}: the unknown token '{}' is not in the vocabulary", spec.where, spec.unk_token);
}

void Unigram::find_paths(std::string_view word, std::vector<Node>& ends) const {
  const auto offer = [&](size_t begin, size_t end, int32_t id, double score) {
    Node& node = ends[end];
    const double total = score + ends[begin].score;
    if (node.begin < 0 || total > node.score) node = {total, static_cast<int64_t>(begin), id};
  };
  for (size_t begin = 0; begin < word.size();) {
    size_t after_character = begin;
    next_code_point(word, after_character);
    bool character_is_entry = false;
    int32_t node = ByteTrie::kRoot;
    for (size_t end = begin; end < word.size();) {
      node = trie_.child(node, static_cast<uint8_t>(word[end]));
      if (node < 0) break;
      ++end;
      const int32_t id = trie_.value(node);
      if (id < 0) continue;
      offer(begin, end, id, scores_[id]);
      character_is_entry = character_is_entry || end == after_character;
    }
    if (!character_is_entry) offer(begin, after_character, unk_id_, unk_score_);
    begin = after_character;
  }
}

// text: a token of the best path.
void Unigram::append_token(std::string_view text, std::vector<int32_t>& ids) const {
  const int32_t id = find(text);
  if (id >= 0) {
    ids.push_back(id);
  } else if (!append_bytes(text, ids)) {
    if (unk_id_ < 0) {
      throw_data("{}: no entry covers '{}', and the file names no unknown token (model.unk_id)",
                 where_, text);
    }
    ids.push_back(unk_id_);
  }
}

void Unigram::encode_word(std::string_view word, std::vector<int32_t>& ids) const {
  std::vector<Node> ends(word.size() + 1);
  find_paths(word, ends);
  std::vector<std::string_view> tokens;  // last first
  bool after_unknown = false;            // the token that follows in the text is an unknown one
  for (size_t end = word.size(); end > 0;) {
    const Node& node = ends[end];
    const auto begin = static_cast<size_t>(node.begin);
    const bool unknown = node.id == unk_id_;
    if (unknown && after_unknown && fuse_unk_) {
      tokens.back() = word.substr(begin, end - begin + tokens.back().size());
    } else {
      tokens.push_back(word.substr(begin, end - begin));
    }
    after_unknown = unknown;
    end = begin;
  }
  std::for_each(tokens.rbegin(), tokens.rend(),
                [&](std::string_view token) { append_token(token, ids); });
}

}  // namespace kv
