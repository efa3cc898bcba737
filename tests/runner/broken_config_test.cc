// Broken configs: accepted or refused with a place, never a crash.
#include "runner/config.h"
#include "runner/value_io.h"
#include "tests/engine/file_testing.h"
#include "tests/mutate.h"
#include "tests/paths.h"

namespace kv {
namespace {

TEST(BrokenConfig, IsAcceptedOrRefused) {
  const std::filesystem::path& source = source_dir();
  const std::vector<std::string> configs = {
      "models: [tiny-qwen2]\ntasks: [{name: perplexity, samples: 2}]\n"
      "compressors: [none, {name: snapkv, ratio: [0.5, 0.75]}, 'int4(group=32)']\nrun: {out: ../r, "
      "memory: 8GiB}\n",
      read_file(source / "configs" / "smoke.yaml")};
  const std::vector<std::string> words = {
      "&a ",   "*a",  "<<: *a", "- ",     "? ",     "[",         "{",    "|\n", ">\n",  "!!binary ",
      "---\n", "%",   "\t",     "\n",     "'",      "\"",        "null", "~",   ".inf", "0x7f",
      "1e400", "- {", ": ",     "models", "tasks:", "limit: -1", "sets", "#",   "\xC3"};
  expect_error_or_success(configs, words, 3000, [&](const std::string& text) {
    parse_config(text, source / "tests/data/x.yaml", {});
  });
}

TEST(BrokenRequest, IsAcceptedOrRefused) {
  const std::vector<std::string> requests = {
      R"([{"id": "a", "prompt": "x\u00e9", "compressor": {"name": "knorm", "ratio": [0.5, 1e-3]}}, null, true])"};
  const std::vector<std::string> words = {"{", "[",    "\"", "\\ud8", "1e400",
                                          "-", "null", ",",  ":",     "{\"a\":"};
  expect_error_or_success(requests, words, 3000,
                          [](const std::string& text) { parse_json(text, "request.json"); });
}

TEST(BrokenRequest, DeepNestingIsRefused) {
  expect_error([] { parse_json(std::string(1000000, '['), "request.json"); },
               {"request.json", "500 deep"}, ErrorKind::kUsage);
  EXPECT_EQ(parse_json(std::string(500, '[') + std::string(500, ']'), "r").items.size(), 1u);
}

}  // namespace
}  // namespace kv
