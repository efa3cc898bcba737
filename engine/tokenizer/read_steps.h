// tokenizer.json's normalizer, pre_tokenizer, post_processor and decoder: Sequences are flattened, types
// that are not supported are an Error(kData) that names them.
#pragma once

#include "engine/tokenizer/json_file.h"
#include "engine/tokenizer/spec.h"

namespace kv {

void read_normalizer(const JsonPlace& normalizer, TokenizerSpec& spec);
void read_pre_tokenizer(const JsonPlace& pre_tokenizer, TokenizerSpec& spec);
void read_post_processor(const JsonPlace& post_processor, TokenizerSpec& spec);
void read_decoder(const JsonPlace& decoder, TokenizerSpec& spec);

}  // namespace kv
