// What a GGUF file says of its model: its tokenizer used, its template rendered, its tensors named.
#include "engine/gguf_model.h"

#include "engine/chat_template.h"
#include "engine/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return kv::read_or_refuse(data, size, [](const std::string& bytes) {
    const kv::Gguf gguf(kv::fuzz_folder().write("model.gguf", bytes));
    const kv::GgufTokenizer metadata = kv::gguf_tokenizer(gguf);
    if (!metadata.tokens.empty()) {
      const auto tokenizer = kv::Tokenizer::from_gguf(metadata, "model.gguf");
      tokenizer->decode(tokenizer->encode("ab a <|im_end|> \u00E9", true), false);
    }
    const auto chat = kv::gguf_chat_template(gguf, metadata);
    if (chat != nullptr) chat->render({{"user", "hi"}}, true);
    kv::gguf_tensors(gguf, kv::gguf_model_config(gguf));
  });
}
