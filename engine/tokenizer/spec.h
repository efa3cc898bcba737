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
  bool literal = false;                // kReplace: pattern is the text itself
  std::string pattern;                 // kReplace: a regular expression
  std::string text;                    // kPrepend: what; kReplace: by what
};

struct PreTokenizerStep {
  enum class Type { kByteLevel, kDigits, kSplit, kMetaspace };
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  enum class Prepend { kAlways, kFirst, kNever };
  Type type = Type::kByteLevel;
  bool add_prefix_space = false, use_regex = true;  // kByteLevel
  bool individual_digits = false;                   // kDigits
  std::string pattern;                              // kSplit: a regular expression
  Behavior behavior = Behavior::kIsolated;          // kSplit
  bool invert = false;                 // kSplit: what lies between the matches is the delimiter
  std::string replacement;             // kMetaspace: what stands for the space, one character
  Prepend prepend = Prepend::kAlways;  // kMetaspace: whether a text begins with a space of its own
  bool split = true;                   // kMetaspace: a word for each space
};

// What the post-processor puts around the ids of a text: the id of a special token, or kSequence
// for the text itself.
struct PostTemplate {
  static constexpr int32_t kSequence = -1;
  std::vector<int32_t> pieces;
};

// A step from tokens to text, see decoder.h.
struct DecoderStep {
  enum class Type { kByteLevel, kFuse, kReplace, kByteFallback, kStrip, kMetaspace, kJoin };
  Type type = Type::kByteLevel;
  std::string pattern;     // kReplace: what, literally; kStrip and kMetaspace: one character
  std::string text;        // kReplace: by what; kJoin: what stands between tokens
  int left = 0;            // kStrip: at most so many characters
  bool drop_first = true;  // kMetaspace: the first token's spaces go
};

enum class ModelKind { kBpe, kUnigram };

struct TokenizerSpec {
  std::string where;  // file name for messages
  ModelKind kind = ModelKind::kBpe;
  std::vector<std::pair<std::string, int32_t>> vocab;       // entry, id
  std::vector<double> scores;                               // kUnigram: of the entries of vocab
  std::vector<std::pair<std::string, std::string>> merges;  // kBpe: by rank
  std::string unk_token;                                    // where has_unk
  bool has_unk = false;
  bool fuse_unk = false;       // neighbouring unknown characters give one token
  bool byte_fallback = false;  // unknown characters give the tokens <0x00> … <0xFF> of their bytes
  bool ignore_merges = false;  // a word that is an entry is taken whole
  std::vector<AddedToken> added;
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  std::vector<PostTemplate> post;
  std::vector<DecoderStep> decoder;
};

// xxh3-128 (hex) over everything in it that can change an id.
std::string hash_of(const TokenizerSpec& spec);

// GPT-2's, Llama 3's and Qwen2's split patterns.
extern const char* const kGpt2Pattern;
extern const char* const kLlama3Pattern;
extern const char* const kQwen2Pattern;

}  // namespace kv
