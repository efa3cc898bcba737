// tokenizer.ggml.* -> TokenizerSpec. GGUF names the rules before the merges by one word (`pre`);
// what the word means stands here.
#include "engine/error.h"
#include "engine/tokenizer/read.h"
#include "engine/tokenizer/sentencepiece.h"

namespace kv {
namespace {

constexpr int kControl = 3;
constexpr int kUserDefined = 4;

PreTokenizerStep byte_level(bool use_regex) {
  PreTokenizerStep step;
  step.type = PreTokenizerStep::Type::kByteLevel;
  step.use_regex = use_regex;
  return step;
}

PreTokenizerStep digits() {
  PreTokenizerStep step;
  step.type = PreTokenizerStep::Type::kDigits;
  step.individual_digits = true;
  return step;
}

PreTokenizerStep split(const char* pattern) {
  PreTokenizerStep step;
  step.type = PreTokenizerStep::Type::kSplit;
  step.pattern = pattern;
  return step;
}

void set_rules(const std::string& pre, TokenizerSpec& spec) {
  if (pre == "smollm") {
    spec.pre_tokenizer = {digits(), byte_level(true)};
  } else if (pre == "gpt-2" || pre == "gpt2") {
    spec.pre_tokenizer = {byte_level(true)};
  } else if (pre == "qwen2") {
    spec.normalizer.emplace_back();  // NFC
    spec.pre_tokenizer = {split(kQwen2Pattern), byte_level(false)};
  } else if (pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3") {
    spec.pre_tokenizer = {split(kLlama3Pattern), byte_level(false)};
    spec.ignore_merges = true;
  } else {
    throw_data(
        "{}: tokenizer.ggml.pre: '{}' is not supported; supported: smollm, gpt-2, qwen2, "
        "llama-bpe. Use the "
        "model's Hugging Face folder, whose tokenizer.json spells the rules out",
        spec.where, pre);
  }
}

void read_byte_level(const GgufTokenizer& metadata, TokenizerSpec& spec) {
  for (size_t id = 0; id < metadata.tokens.size(); ++id) {
    const std::string& text = metadata.tokens[id];
    spec.vocab.emplace_back(text, static_cast<int32_t>(id));
    const int type = metadata.token_types[id];
    if (text.empty() || (type != kControl && type != kUserDefined)) continue;
    AddedToken token;
    token.id = static_cast<int32_t>(id);
    token.content = text;
    token.special = type == kControl;
    spec.added.push_back(token);
  }
  for (size_t i = 0; i < metadata.merges.size(); ++i) {
    const std::string& line = metadata.merges[i];
    const size_t space =
        line.find(' ', 1);  // neither part is empty, and no part of byte-level BPE has a space
    if (space == std::string::npos || space + 1 == line.size()) {
      throw_data(
          "{}: tokenizer.ggml.merges[{}]: expected two parts with a space between, found '{}'",
          spec.where, i, line);
    }
    spec.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  set_rules(metadata.pre, spec);
  spec.decoder.emplace_back();  // ByteLevel
}

void add_template(const GgufTokenizer& metadata, TokenizerSpec& spec) {
  PostTemplate post;
  const auto add = [&](bool wanted, int id, const char* name) {
    if (!wanted) return;
    if (id < 0 || static_cast<size_t>(id) >= metadata.tokens.size()) {
      throw_data("{}: tokenizer.ggml.add_{}_token is set, but tokenizer.ggml.{}_token_id is {}",
                 spec.where, name, name, id < 0 ? std::string("missing") : std::to_string(id));
    }
    post.pieces.push_back(id);
  };
  add(metadata.add_bos, metadata.bos_id, "bos");
  post.pieces.push_back(PostTemplate::kSequence);
  add(metadata.add_eos, metadata.eos_id, "eos");
  if (post.pieces.size() > 1) spec.post.push_back(post);
}

}  // namespace

TokenizerSpec read_gguf_tokenizer(const GgufTokenizer& metadata, const std::string& file) {
  TokenizerSpec spec;
  spec.where = file;
  if (metadata.token_types.size() != metadata.tokens.size()) {
    throw_data(
        "{}: tokenizer.ggml.token_type has {} entries, tokenizer.ggml.tokens {}; expected as many",
        file, metadata.token_types.size(), metadata.tokens.size());
  }
  if (metadata.model == "gpt2") {
    read_byte_level(metadata, spec);
  } else if (metadata.model == "llama") {
    read_sentencepiece(metadata, spec);
  } else {
    throw_data(
        "{}: tokenizer.ggml.model: '{}' is not supported; expected gpt2 (byte-level BPE) or llama "
        "(SentencePiece's BPE)",
        file, metadata.model);
  }
  add_template(metadata, spec);
  return spec;
}

}  // namespace kv
