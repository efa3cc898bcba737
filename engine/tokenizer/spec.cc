#include "engine/tokenizer/spec.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <string_view>

namespace kv {

const char* const kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const char* const kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char* const kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

// Every field goes in with its length, so that no two different specs feed the same bytes.
class Hasher {
 public:
  Hasher() : state_(XXH3_createState(), XXH3_freeState) { XXH3_128bits_reset(state_.get()); }
  void add(int64_t number) { XXH3_128bits_update(state_.get(), &number, sizeof number); }
  void add(std::string_view text) {
    add(static_cast<int64_t>(text.size()));
    XXH3_128bits_update(state_.get(), text.data(), text.size());
  }
  std::string hex() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_;
};

void add_steps(Hasher& hasher, const TokenizerSpec& spec) {
  hasher.add(static_cast<int64_t>(spec.normalizer.size()));
  for (const NormalizerStep& step : spec.normalizer) {
    hasher.add(static_cast<int64_t>(step.type));
    hasher.add(static_cast<int64_t>(step.form));
    hasher.add(step.literal * 4 + step.left * 2 + step.right);
    hasher.add(step.pattern);
    hasher.add(step.text);
  }
  hasher.add(static_cast<int64_t>(spec.pre_tokenizer.size()));
  for (const PreTokenizerStep& step : spec.pre_tokenizer) {
    hasher.add(static_cast<int64_t>(step.type));
    hasher.add(step.add_prefix_space * 8 + step.use_regex * 4 + step.individual_digits * 2 +
               step.invert);
    hasher.add(step.pattern);
    hasher.add(static_cast<int64_t>(step.behavior));
    if (step.type != PreTokenizerStep::Type::kMetaspace) continue;
    hasher.add(step.replacement);
    hasher.add(static_cast<int64_t>(step.prepend) * 2 + step.split);
  }
  hasher.add(static_cast<int64_t>(spec.post.size()));
  for (const PostTemplate& post : spec.post) {
    hasher.add(static_cast<int64_t>(post.pieces.size()));
    for (const int32_t piece : post.pieces) hasher.add(piece);
  }
}

}  // namespace

std::string hash_of(const TokenizerSpec& spec) {
  Hasher hasher;
  auto vocab = spec.vocab;  // in one order, whatever order the file had
  std::sort(vocab.begin(), vocab.end());
  hasher.add(static_cast<int64_t>(vocab.size()));
  for (const auto& [text, id] : vocab) {
    hasher.add(text);
    hasher.add(id);
  }
  if (spec.kind == ModelKind::kUnigram) {
    hasher.add("unigram");
    for (const double score : spec.scores) hasher.add(std::bit_cast<int64_t>(score));
  }
  hasher.add(static_cast<int64_t>(spec.merges.size()));
  for (const auto& [left, right] : spec.merges) {
    hasher.add(left);
    hasher.add(right);
  }
  hasher.add(spec.byte_fallback * 8 + spec.has_unk * 4 + spec.fuse_unk * 2 + spec.ignore_merges);
  hasher.add(spec.unk_token);
  hasher.add(static_cast<int64_t>(spec.added.size()));
  for (const AddedToken& token : spec.added) {
    hasher.add(token.id);
    hasher.add(token.content);
    hasher.add(token.single_word * 16 + token.lstrip * 8 + token.rstrip * 4 + token.normalized * 2 +
               token.special);
  }
  add_steps(hasher, spec);
  return hasher.hex();
}

}  // namespace kv
