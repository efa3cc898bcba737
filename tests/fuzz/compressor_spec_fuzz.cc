// A compressor spec. What is accepted has a canonical form that reads back as itself.
#include "compress/registry.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return kv::read_or_refuse(data, size, [](const std::string& text) {
    for (const kv::CompressorSpec& spec : kv::parse_compressors(text, "--compressor")) {
      const auto again = kv::parse_compressors(spec.canonical, "canonical form");
      KV_CHECK(again.size() == 1 && again[0].canonical == spec.canonical, "{} reads back as {}",
               spec.canonical, again.empty() ? "" : again[0].canonical);
    }
  });
}
