#include "engine/tokenizer/sentencepiece.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <unordered_map>

#include "engine/error.h"

namespace kv {
namespace {

const char kSpaceMark[] = "\u2581";

enum TokenType { kUnknown = 2, kControl = 3, kUserDefined = 4 };

// A way to make a piece out of two.
struct Merge {
  double score;     // of the piece
  int left, right;  // characters of the two
  const std::string* piece;
  size_t split;  // bytes of the left one
};

// Every way to cut a piece in two that are pieces themselves.
void add_merges(const std::string& piece, double score,
                const std::unordered_map<std::string_view, int32_t>& pieces,
                std::vector<Merge>& merges) {
  const std::string_view text = piece;
  std::vector<size_t> starts;  // of the characters
  for (size_t at = 0; at < text.size(); at += static_cast<size_t>(utf8_step(text, at).length))
    starts.push_back(at);
  const int length = static_cast<int>(starts.size());
  for (int left = 1; left < length; ++left) {
    const size_t split = starts[static_cast<size_t>(left)];
    if (pieces.count(text.substr(0, split)) != 0 && pieces.count(text.substr(split)) != 0)
      merges.push_back({score, left, length - left, &piece, split});
  }
}

// SentencePiece joins the neighbours that make the piece with the highest score. As ranks: by score,
// then, so that every pair has a rank of its own, the longer left part and right part first, which
// is the order in which transformers writes them to tokenizer.json.
void make_merges(const GgufTokenizer& metadata, TokenizerSpec& spec) {
  std::unordered_map<std::string_view, int32_t> pieces;
  pieces.reserve(spec.vocab.size());
  for (const auto& [piece, id] : spec.vocab) pieces[piece] = id;
  std::vector<Merge> merges;
  for (size_t id = 0; id < spec.vocab.size(); ++id) {
    // Conversion to GGUF overwrites the score of what the user defined, which comes before all else.
    const bool user_defined = metadata.token_types[id] == kUserDefined;
    add_merges(spec.vocab[id].first,
               user_defined ? std::numeric_limits<double>::infinity() : metadata.scores[id], pieces,
               merges);
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return std::tie(a.score, a.left, a.right) > std::tie(b.score, b.left, b.right);
  });
  spec.merges.reserve(merges.size());
  for (const Merge& merge : merges)
    spec.merges.emplace_back(merge.piece->substr(0, merge.split), merge.piece->substr(merge.split));
}

void add_vocabulary(const GgufTokenizer& metadata, TokenizerSpec& spec) {
  for (size_t id = 0; id < metadata.tokens.size(); ++id) {
    const int type = metadata.token_types[id];
    // What the user defined is spelled with spaces in the file.
    const std::string text = type == kUserDefined
                                 ? replace_all(metadata.tokens[id], " ", kSpaceMark)
                                 : metadata.tokens[id];
    spec.vocab.emplace_back(text, static_cast<int32_t>(id));
    if (text.empty() || (type != kUnknown && type != kControl && type != kUserDefined)) continue;
    AddedToken token;
    token.id = static_cast<int32_t>(id);
    token.content = text;
    token.special = type != kUserDefined;
    spec.added.push_back(token);
  }
}

NormalizerStep prepend(const std::string& text) {
  NormalizerStep step;
  step.type = NormalizerStep::Type::kPrepend;
  step.text = text;
  return step;
}

NormalizerStep replace_in_text(const std::string& what, const std::string& by) {
  NormalizerStep step;
  step.type = NormalizerStep::Type::kReplace;
  step.literal = true;
  step.pattern = what;
  step.text = by;
  return step;
}

DecoderStep decoder_step(DecoderStep::Type type, const std::string& pattern = "",
                         const std::string& text = "", int left = 0) {
  DecoderStep step;
  step.type = type;
  step.pattern = pattern;
  step.text = text;
  step.left = left;
  return step;
}

}  // namespace

void read_sentencepiece(const GgufTokenizer& metadata, TokenizerSpec& spec) {
  if (metadata.scores.size() != metadata.tokens.size()) {
    throw_data(
        "{}: tokenizer.ggml.scores has {} entries, tokenizer.ggml.tokens {}; expected as many",
        spec.where, metadata.scores.size(), metadata.tokens.size());
  }
  add_vocabulary(metadata, spec);
  make_merges(metadata, spec);
  spec.byte_fallback = spec.fuse_unk = true;
  spec.has_unk = metadata.unk_id >= 0;
  if (spec.has_unk) spec.unk_token = spec.vocab[static_cast<size_t>(metadata.unk_id)].first;
  if (metadata.add_space_prefix) spec.normalizer.push_back(prepend(kSpaceMark));
  spec.normalizer.push_back(replace_in_text(" ", kSpaceMark));
  using Type = DecoderStep::Type;
  spec.decoder = {decoder_step(Type::kReplace, kSpaceMark, " "), decoder_step(Type::kByteFallback),
                  decoder_step(Type::kFuse)};
  if (metadata.add_space_prefix) spec.decoder.push_back(decoder_step(Type::kStrip, " ", "", 1));
}

}  // namespace kv
