// A config.json beside the weights of a tiny model: read, and the tensors that it asks for looked up.
#include "engine/model_config.h"

#include "engine/model_files.h"
#include "tests/fuzz/fuzz.h"
#include "tests/paths.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool once = [] {
    std::filesystem::create_symlink(kv::source_dir() / "tests/data/tiny-llama3/model.safetensors",
                                    kv::fuzz_folder().path() / "model.safetensors");
    return true;
  }();
  (void)once;
  return kv::read_or_refuse(data, size, [](const std::string& bytes) {
    kv::fuzz_folder().write("config.json", bytes);
    kv::open_model_files(kv::fuzz_folder().path());
  });
}
