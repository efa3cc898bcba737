// What a GGUF file says about its model: configuration, weights under Hugging Face's names,
// tokenizer, chat template.
#pragma once

#include <memory>
#include <vector>

#include "engine/arch/registry.h"
#include "engine/gguf.h"
#include "engine/model_config.h"
#include "engine/tokenizer/tokenizer.h"

namespace kv {

class ChatTemplate;

// All throw Error(kData) naming file and key or tensor.
const Architecture& gguf_architecture(const Gguf& gguf);
ModelConfig gguf_model_config(const Gguf& gguf);

// The weights with Hugging Face's names; q and k rows of Llama files marked as interleaved.
std::vector<StoredTensor> gguf_tensors(const Gguf& gguf, const ModelConfig& config);

GgufTokenizer gguf_tokenizer(const Gguf& gguf);  // tokens is empty where the file has no tokenizer
// Null where the file has no template.
std::shared_ptr<const ChatTemplate> gguf_chat_template(const Gguf& gguf,
                                                       const GgufTokenizer& tokenizer);

}  // namespace kv
