#include "engine/tokenizer/decoder.h"

#include <algorithm>
#include <utility>

#include "engine/tokenizer/byte_level.h"
#include "engine/tokenizer/normalize.h"
#include "engine/tokenizer/unicode.h"

namespace kv {
namespace {

using Type = DecoderStep::Type;

const char kReplacement[] = "\uFFFD";

// Cuts off and returns what is certain of growing bytes: all but an unfinished last character.
std::string take_certain(std::string& bytes) {
  size_t certain = bytes.size();
  for (size_t at = bytes.size() - std::min<size_t>(3, bytes.size()); at < bytes.size(); ++at) {
    const Utf8Step step = utf8_step(bytes, at);
    if (step.cut_off && at + step.length == bytes.size()) {
      certain = at;
      break;
    }
  }
  std::string text = replace_invalid_utf8(std::string_view(bytes).substr(0, certain));
  bytes.erase(0, certain);
  return text;
}

}  // namespace

TextDecoder::TextDecoder(std::vector<DecoderStep> steps) {
  bool fused = false;
  for (DecoderStep& step : steps) {
    const int to_strip = step.left;
    fused = fused || step.type == Type::kFuse || step.type == Type::kByteLevel;
    steps_.push_back({std::move(step), fused, false, to_strip, ""});
  }
}

std::string TextDecoder::add(std::string_view token) {
  std::string out;
  pass(0, token, out);
  return out;
}

std::string TextDecoder::finish() {
  std::string out;
  for (size_t at = 0; at < steps_.size(); ++at) {
    Step& step = steps_[at];
    if (step.spec.type == Type::kByteFallback) flush_run(at, out);
    if (step.spec.type == Type::kByteLevel && !step.pending.empty())
      pass(at + 1, replace_invalid_utf8(std::exchange(step.pending, "")), out);
  }
  return out;
}

void TextDecoder::pass(size_t at, std::string_view piece, std::string& out) {
  if (at == steps_.size()) {
    out += piece;
    return;
  }
  Step& step = steps_[at];
  const bool first = !std::exchange(step.started, true);
  switch (step.spec.type) {
    case Type::kByteLevel:
      step.pending += bytes_of_spelling(piece);
      return pass(at + 1, take_certain(step.pending), out);
    case Type::kFuse:
      return pass(at + 1, piece, out);
    case Type::kReplace:
      check_growth(0,
                   piece.size() + piece.size() / step.spec.pattern.size() * step.spec.text.size(),
                   "the decoder of the tokenizer");
      return pass(at + 1, replace_all(piece, step.spec.pattern, step.spec.text), out);
    case Type::kByteFallback:
      if (const auto byte = byte_of_token(piece)) {
        step.pending += *byte;
        return;
      }
      flush_run(at, out);
      return pass(at + 1, piece, out);
    case Type::kStrip:
      return pass(at + 1, without_front(step, piece), out);
    case Type::kMetaspace:
      return pass(at + 1,
                  replace_all(piece, step.spec.pattern,
                              step.spec.drop_first && (first || step.after_fuse) ? "" : " "),
                  out);
    case Type::kJoin:
      return pass(at + 1, first ? std::string(piece) : step.spec.text + std::string(piece), out);
  }
}

// The run of byte tokens that step `at` has collected goes on as text.
void TextDecoder::flush_run(size_t at, std::string& out) {
  const std::string bytes = std::exchange(steps_[at].pending, "");
  if (bytes.empty()) return;
  if (find_invalid_utf8(bytes) == std::string_view::npos) return pass(at + 1, bytes, out);
  for (size_t i = 0; i < bytes.size(); ++i) pass(at + 1, kReplacement, out);
}

std::string TextDecoder::without_front(Step& step, std::string_view piece) const {
  const std::string& character = step.spec.pattern;
  int left = step.after_fuse ? step.to_strip : step.spec.left;
  while (left > 0 && piece.starts_with(character)) {
    piece.remove_prefix(character.size());
    --left;
  }
  if (step.after_fuse) step.to_strip = piece.empty() ? left : 0;
  return std::string(piece);
}

}  // namespace kv
