// A GGUF file: opened, every tensor dequantised.
#include "engine/gguf.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return kv::read_or_refuse(data, size, [](const std::string& bytes) {
    const kv::Gguf gguf(kv::fuzz_folder().write("model.gguf", bytes));
    for (const kv::StoredTensor& tensor : gguf.tensors()) kv::read_floats(tensor);
  });
}
