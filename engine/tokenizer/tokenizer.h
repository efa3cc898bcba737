// Text <-> token ids, equal to Hugging Face's `tokenizers` for BPE files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

// What a GGUF file says about its tokenizer (tokenizer.ggml.*).
struct GgufTokenizer {
  std::string model;  // "gpt2": byte-level BPE; others are refused with the reason
  std::string pre;  // "smollm", "gpt-2", "llama-bpe", "llama3", "qwen2"; others are refused by name
  std::vector<std::string> tokens;  // by id
  std::vector<int> token_types;     // 1 normal, 3 control, 4 user defined, 5 unused, 6 byte
  std::vector<std::string> merges;  // "left right"
  int bos_id = -1, eos_id = -1, pad_id = -1, unk_id = -1;
  bool add_bos = false, add_eos = false;
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
  // Bytes that are not UTF-8 become U+FFFD. Ids without a token (padding rows of a model's
  // vocabulary) give nothing.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;
  // The same before invalid UTF-8 is replaced: token for token, so that pieces can be joined.
  // at_start: no text before.
  virtual std::string decode_bytes(std::span<const int32_t> ids, bool skip_special_tokens,
                                   bool at_start) const = 0;

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

// Decodes a growing list of ids into text that can be printed as it comes: holds back incomplete
// UTF-8.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens);
  std::string add(int32_t id);  // the text that is now certain
  std::string finish();         // what was held back

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  bool at_start_ = true;
  std::string pending_;  // the first bytes of a character
};

}  // namespace kv
