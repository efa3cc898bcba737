// The YAML config of a run, with models that are there: accepted, or refused with a place.
#include "runner/config.h"
#include "tests/fuzz/fuzz.h"
#include "tests/paths.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return kv::read_or_refuse(data, size, [](const std::string& text) {
    kv::parse_config(text, kv::source_dir() / "tests/data/fuzz.yaml", {});
  });
}
