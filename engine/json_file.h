// JSON files of the user, read strictly: no duplicate keys, errors with file and byte.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace kv {

// place: what messages call the text ("config.json", "model.safetensors: header").
// Throws Error(kData) for a syntax error (with the byte offset) and for a key that occurs twice in
// one object.
nlohmann::json parse_json(std::string_view text, const std::string& place);

nlohmann::json parse_json_file(const std::filesystem::path& path);

// "the string 'abc'", "the number 1.5", "a list", …: what a message says was found.
std::string describe_json(const nlohmann::json& value);

}  // namespace kv
