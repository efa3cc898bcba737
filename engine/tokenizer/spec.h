// What a tokenizer file says, read and checked but not yet compiled. tokenizer.json and GGUF both
// end here, so that one hash and one implementation serve both.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/tokenizer/unicode.h"

namespace kv {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool normalized = false;   // looked for in the normalised text, itself normalised
  bool special = false;      // left out by decode(skip_special_tokens)
};

struct NormalizerStep {
  enum class Type { kForm, kLowercase, kStrip, kPrepend, kReplace };
  Type type = Type::kForm;
  NormalForm form = NormalForm::kNfc;  // kForm
  bool left = false, right = false;    // kStrip
  std::string pattern;                 // kReplace: a regular expression
  std::string text;                    // kPrepend: what; kReplace: by what
};

struct PreTokenizerStep {
  enum class Type { kByteLevel, kDigits, kSplit };
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  Type type = Type::kByteLevel;
  bool add_prefix_space = false, use_regex = true;  // kByteLevel
  bool individual_digits = false;                   // kDigits
  std::string pattern;                              // kSplit: a regular expression
  Behavior behavior = Behavior::kIsolated;          // kSplit
  bool invert = false;  // kSplit: what lies between the matches is the delimiter
};

// What the post-processor puts around the ids of a text: the id of a special token, or kSequence
// for the text itself.
struct PostTemplate {
  static constexpr int32_t kSequence = -1;
  std::vector<int32_t> pieces;
};

enum class DecoderKind { kByteLevel, kFuse, kJoinWithSpaces };  // the last: a file without decoder

struct TokenizerSpec {
  std::string where;                                        // file name for messages
  std::vector<std::pair<std::string, int32_t>> vocab;       // entry, id
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  std::string unk_token;                                    // where has_unk
  bool has_unk = false, fuse_unk = false;
  bool ignore_merges = false;  // a word that is an entry is taken whole
  std::vector<AddedToken> added;
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  std::vector<PostTemplate> post;
  DecoderKind decoder = DecoderKind::kByteLevel;
};

// xxh3-128 (hex) over everything in it that can change an id.
std::string hash_of(const TokenizerSpec& spec);

// GPT-2's, Llama 3's and Qwen2's split patterns.
extern const char* const kGpt2Pattern;
extern const char* const kLlama3Pattern;
extern const char* const kQwen2Pattern;

}  // namespace kv
