// How vocabularies spell bytes. GPT-2's printable spelling: each of the 256 bytes stands for one character, so that a
// vocabulary file holds no spaces and no control characters ("Ġ" is the space).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kv {

// Code point of the character that spells each byte; all lie below 0x144.
const std::array<uint16_t, 256>& byte_spellings();
// The UTF-8 of byte_spellings(), one or two bytes each.
const std::array<std::string, 256>& byte_spellings_utf8();

// The bytes that a token stands for. A token with a character that spells no byte stands for its
// own UTF-8 (added tokens, mostly).
std::string bytes_of_spelling(std::string_view token);

// SentencePiece's spelling of a byte in a vocabulary without bytes: "<0x41>" is 0x41.
std::optional<char> byte_of_token(std::string_view token);

}  // namespace kv
