// UTF-8 and the few Unicode properties that tokenizers and chat templates ask for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace kv {

// What stands at one place of a byte string.
struct Utf8Step {
  int length = 0;  // bytes; of an invalid sequence: its maximal subpart, which one U+FFFD replaces
  uint32_t code_point = 0;  // 0xFFFD where invalid
  bool valid = false;
  bool cut_off = false;  // invalid only because the string ends too early
};
Utf8Step utf8_step(std::string_view bytes, size_t at);  // at < bytes.size()

// The code point at `at`, which moves behind it. The text must be valid UTF-8.
uint32_t next_code_point(std::string_view text, size_t& at);
void append_utf8(uint32_t code_point, std::string& out);

// Offset of the first byte that is not part of valid UTF-8; npos where all is well.
size_t find_invalid_utf8(std::string_view bytes);
// Every maximal invalid subpart becomes U+FFFD (Unicode 15, section 3.9, as Rust and Python do it).
std::string replace_invalid_utf8(std::string_view bytes);
bool is_ascii(std::string_view bytes);
// Every `what` (not empty) by `by`.
std::string replace_all(std::string_view text, std::string_view what, std::string_view by);

bool is_white_space(uint32_t code_point);  // property White_Space
bool is_numeric(uint32_t code_point);      // general category Nd, Nl or No
bool is_word(uint32_t code_point);         // \w of UTS #18: Alphabetic, M, Nd, Pc, Join_Control

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };
std::string normalize_form(std::string_view text, NormalForm form);  // text must be valid UTF-8
std::string lower_case(std::string_view text);  // each character alone: no final sigma
std::string upper_case(std::string_view text);

}  // namespace kv
