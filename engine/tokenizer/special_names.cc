#include "engine/tokenizer/special_names.h"

#include <nlohmann/json.hpp>

#include "engine/tokenizer/json_file.h"

namespace kv {
namespace {

constexpr const char* kNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};

// A token is written as its text or as an object with the text under "content".
void add_names(const std::filesystem::path& file, std::map<std::string, std::string>& names) {
  if (!std::filesystem::exists(file)) return;
  const nlohmann::json json = read_json_file(file);
  for (const char* name : kNames) {
    const auto entry = json.find(name);
    if (entry == json.end() || entry->is_null()) continue;
    if (entry->is_string()) {
      names.emplace(name, entry->get<std::string>());
    } else {
      names.emplace(name, JsonPlace(*entry, file.string(), name).string_at("content"));
    }
  }
}

}  // namespace

std::map<std::string, std::string> read_special_names(const std::filesystem::path& folder) {
  std::map<std::string, std::string> names;
  add_names(folder / "tokenizer_config.json", names);
  add_names(folder / "special_tokens_map.json", names);
  return names;
}

}  // namespace kv
