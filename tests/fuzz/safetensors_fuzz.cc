// A safetensors file: opened, every tensor read.
#include "engine/safetensors.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return kv::read_or_refuse(data, size, [](const std::string& bytes) {
    const auto path = kv::fuzz_folder().write("model.safetensors", bytes);
    const kv::Safetensors file = kv::Safetensors::open_file(path);
    for (const auto& [name, entry] : file.entries()) {
      if (entry.dtype == "F32" || entry.dtype == "F16" || entry.dtype == "BF16") file.floats(name);
      if (entry.dtype == "I32") file.int32s(name);
      if (entry.dtype == "I64") file.int64s(name);
      if (entry.dtype == "U8" || entry.dtype == "BOOL") file.bytes(name);
    }
  });
}
