// Tokens -> text, as a tokenizer file's decoder prescribes, one token at a time.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/spec.h"

namespace kv {

// The steps, each on what the former gives:
//   kByteLevel     each character stands for a byte (byte_level.h); bytes that are not UTF-8 become
//                  U+FFFD
//   kFuse          all tokens are one from here on
//   kReplace       one literal text by another, inside each token
//   kByteFallback  <0x41> is the byte 0x41; a run of such tokens becomes its text where it is UTF-8,
//                  else one U+FFFD for each byte
//   kStrip         so many characters at most go from the front of each token
//   kMetaspace     one character by the space, but by nothing in the first token
//   kJoin          a text between any two tokens
class TextDecoder {
 public:
  explicit TextDecoder(std::vector<DecoderStep> steps);
  std::string add(std::string_view token);  // the text that is now certain
  std::string finish();                     // what was held back

 private:
  struct Step {
    DecoderStep spec;
    bool after_fuse = false;  // what comes in is one token in pieces
    bool started = false;     // something has come in
    int to_strip = 0;         // kStrip after kFuse: how many more characters may go
    std::string pending;      // kByteLevel: an unfinished character; kByteFallback: the run so far
  };
  // Hands a piece to step number `at`; past the last one it is text.
  void pass(size_t at, std::string_view piece, std::string& out);
  void flush_run(size_t at, std::string& out);
  std::string without_front(Step& step, std::string_view piece) const;

  std::vector<Step> steps_;
};

}  // namespace kv
