// A tokenizer.json: read, then used both ways on text that meets normalizers, splits and merges.
#include "engine/tokenizer/tokenizer.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return kv::read_or_refuse(data, size, [](const std::string& bytes) {
    const auto path = kv::fuzz_folder().write("tokenizer.json", bytes);
    const auto tokenizer = kv::Tokenizer::from_json_file(path);
    const std::string text = " ab  \u00C5ngstro\u0308m \u0345<mask> 12\u00E9\n<|im_end|>\U0001F642";
    const std::vector<int32_t> ids = tokenizer->encode(text, true);
    tokenizer->decode(ids, true);
    tokenizer->decode(ids, false);
  });
}
