// A chat template: parsed, then rendered with a system message, turns and a list of tools.
#include "engine/chat_template.h"

#include <nlohmann/json.hpp>

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto variables = nlohmann::ordered_json::parse(R"({
    "enable_thinking": false,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": [1, 2.5, null]}}}]
  })");
  return kv::read_or_refuse(data, size, [](const std::string& source) {
    const auto chat = kv::ChatTemplate::parse(source, "fuzz.jinja", {{"bos_token", "<s>"}});
    chat->render({{"system", "be brief"}, {"user", "h\u00E9"}, {"assistant", " x "}}, true,
                 variables);
  });
}
