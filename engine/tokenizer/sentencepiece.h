// SentencePiece's BPE as GGUF files hold it (tokenizer.ggml.model = llama): pieces with scores.
#pragma once

#include "engine/tokenizer/spec.h"
#include "engine/tokenizer/tokenizer.h"

namespace kv {

// Fills in the vocabulary, merges, added tokens, normalizer and decoder of Llama 2's and Gemma's
// tokenizer.json, which the same scores give. Throws Error(kData) where scores and tokens differ in
// number or the unknown token is missing.
void read_sentencepiece(const GgufTokenizer& metadata, TokenizerSpec& spec);

}  // namespace kv
