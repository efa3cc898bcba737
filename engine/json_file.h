// JSON files of the user, read strictly: no duplicate keys, errors with file and byte.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace kv {

// place: what messages call the text ("config.json", "model.safetensors: header").
// Throws Error(kData) for a syntax error (with the byte offset), for a key that occurs twice in one
// object and for what check_json_depth refuses.
nlohmann::json parse_json(std::string_view text, const std::string& place);

nlohmann::json parse_json_file(const std::filesystem::path& path);

// Throws Error(kData) for lists and objects nested so deeply that the stack could run out on what is read from them.
void check_json_depth(std::string_view text, const std::string& place);

// "the string 'abc'", "the number 1.5", "a list", …: what a message says was found.
std::string describe_json(const nlohmann::json& value);

}  // namespace kv
