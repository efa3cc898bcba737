// Text <-> token ids, equal to Hugging Face's `tokenizers` for BPE and Unigram files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/decoder.h"

namespace kv {

// What a GGUF file says about its tokenizer (tokenizer.ggml.*).
struct GgufTokenizer {
  std::string model;  // "gpt2": byte-level BPE; "llama": SentencePiece's BPE; others are refused
  std::string pre;    // of "gpt2": which rules cut words; unknown ones are refused by name
  std::vector<std::string> tokens;  // by id
  std::vector<int> token_types;     // 1 normal, 3 control, 4 user defined, 5 unused, 6 byte
  std::vector<double> scores;       // of "llama": minus the rank of the merge that makes the token
  std::vector<std::string> merges;  // of "gpt2": "left right"
  int bos_id = -1, eos_id = -1, pad_id = -1, unk_id = -1;
  bool add_bos = false, add_eos = false;
  bool add_space_prefix = true;  // of "llama": a text begins with a space of its own
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // folder: tokenizer.json; names of special tokens from tokenizer_config.json, else from
  // special_tokens_map.json, where there are such files. Truncation and padding that tokenizer.json
  // may ask for are left to the caller, as transformers does. Throws Error(kData) naming the file,
  // the key and what is not supported.
  static std::shared_ptr<const Tokenizer> from_folder(const std::filesystem::path& folder);
  static std::shared_ptr<const Tokenizer> from_json_file(
      const std::filesystem::path& tokenizer_json);
  static std::shared_ptr<const Tokenizer> from_gguf(const GgufTokenizer& metadata,
                                                    const std::string& file);

  // add_special_tokens: what the post-processor adds by itself (BOS, …). Special tokens written in
  // the text are always recognised, as in Hugging Face's. Invalid UTF-8 is an Error(kData) with the
  // byte offset.
  virtual std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const = 0;
  // Ids without a token (padding rows of a model's vocabulary) give nothing, bytes that are not
  // UTF-8 U+FFFD.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;
  virtual TextDecoder decoder() const = 0;  // tokens, as the vocabulary spells them -> text

  virtual int vocab_size() const = 0;  // largest id + 1
  virtual std::optional<int32_t> token_id(
      std::string_view token) const = 0;  // of a vocabulary entry or added token
  virtual std::string token(
      int32_t id) const = 0;  // as the vocabulary spells it; "" for ids without one
  virtual bool is_special(int32_t id) const = 0;
  virtual std::string hash() const = 0;  // xxh3-128 hex of everything that can change an id

  // From tokenizer_config.json or GGUF; empty or -1 where not given.
  std::string bos_token, eos_token, pad_token, unk_token;
  int bos_id = -1, eos_id = -1;
};

// Decodes a growing list of ids into text that can be printed as it comes: holds back what later
// ids may still change (unfinished characters).
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens);
  std::string add(int32_t id);  // the text that is now certain
  std::string finish();         // what was held back

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  TextDecoder decoder_;
};

}  // namespace kv
