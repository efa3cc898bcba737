// A saved cache of the tiny Qwen2 model: opened and restored as `generate --load-cache` does it.
#include "engine/saved_cache.h"

#include "compress/registry.h"
#include "engine/compression.h"
#include "tests/fuzz/fuzz.h"
#include "tests/paths.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const kv::ModelConfig config =
      kv::read_model_config(kv::source_dir() / "tests/data/tiny-qwen2");
  return kv::read_or_refuse(data, size, [](const std::string& bytes) {
    const kv::SavedCache saved(kv::fuzz_folder().write("cache.safetensors", bytes));
    const auto specs = kv::parse_compressors(saved.info().compressor, "cache.safetensors");
    if (specs.size() != 1) return;
    specs[0].plan.check_model(kv::shape_of(config));
    const kv::KvCache cache =
        saved.restore(config, specs[0].plan, kv::plain_codec(saved.info().kv_dtype));
    saved.last_logits(config);
    KV_CHECK(cache.n_tokens() == saved.info().n_tokens);
  });
}
