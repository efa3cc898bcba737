// Which tokens of a model folder play a special part, by name.
#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace kv {

// bos_token, eos_token, unk_token, sep_token, pad_token, cls_token and mask_token -> their text,
// from tokenizer_config.json; what it leaves out from special_tokens_map.json. Missing files give
// nothing, null entries are left out. Throws Error(kData) for a malformed file.
std::map<std::string, std::string> read_special_names(const std::filesystem::path& folder);

}  // namespace kv
