// Readers of tokenizer files.
#pragma once

#include <filesystem>

#include "engine/tokenizer/spec.h"
#include "engine/tokenizer/tokenizer.h"

namespace kv {

// Both throw Error(kData) with the file, the key, what was expected and what was found.
TokenizerSpec read_tokenizer_json(const std::filesystem::path& file);
TokenizerSpec read_gguf_tokenizer(const GgufTokenizer& metadata, const std::string& file);

}  // namespace kv
