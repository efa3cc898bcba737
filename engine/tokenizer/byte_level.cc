#include "engine/tokenizer/byte_level.h"

#include <charconv>

#include "engine/tokenizer/unicode.h"

namespace kv {
namespace {

constexpr int kSpellingLimit = 0x144;

// Printable Latin-1 characters spell themselves, the other 68 bytes take the characters from U+0100
// on.
std::array<uint16_t, 256> make_spellings() {
  std::array<uint16_t, 256> table{};
  uint16_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    table[byte] = printable ? static_cast<uint16_t>(byte) : next++;
  }
  return table;
}

std::array<int16_t, kSpellingLimit> make_bytes() {
  std::array<int16_t, kSpellingLimit> table{};
  table.fill(-1);
  for (int byte = 0; byte < 256; ++byte) table[byte_spellings()[byte]] = static_cast<int16_t>(byte);
  return table;
}

}  // namespace

const std::array<uint16_t, 256>& byte_spellings() {
  static const auto table = make_spellings();
  return table;
}

const std::array<std::string, 256>& byte_spellings_utf8() {
  static const auto table = [] {
    std::array<std::string, 256> spelled;
    for (int byte = 0; byte < 256; ++byte) append_utf8(byte_spellings()[byte], spelled[byte]);
    return spelled;
  }();
  return table;
}

std::string bytes_of_spelling(std::string_view token) {
  static const auto bytes = make_bytes();
  std::string out;
  for (size_t at = 0; at < token.size();) {
    const uint32_t code = next_code_point(token, at);
    if (code >= kSpellingLimit || bytes[code] < 0) return std::string(token);
    out += static_cast<char>(bytes[code]);
  }
  return out;
}

std::optional<char> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  uint8_t byte = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  if (error != std::errc() || end != token.data() + 5) return std::nullopt;
  return static_cast<char>(byte);
}

}  // namespace kv
