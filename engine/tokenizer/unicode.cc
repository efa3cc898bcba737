#include "engine/tokenizer/unicode.h"

#include <oniguruma.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "engine/error.h"
#include "engine/tokenizer/unicode_tables.h"

namespace kv {
namespace {

constexpr uint32_t kReplacement = 0xFFFD;

// Bytes that must follow a lead byte, and the range of the first of them: it excludes overlong
// forms, surrogates and everything above U+10FFFF.
struct LeadByte {
  int followers;
  uint8_t low, high;
};

LeadByte lead_byte(uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {0, 0, 0};
}

std::string normalize_known(std::string_view text, int options) {
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                             static_cast<utf8proc_option_t>(options));
  if (size < 0)
    throw_data("Unicode normalisation of a text of {} bytes: {}", text.size(),
               utf8proc_errmsg(size));
  std::string out(reinterpret_cast<char*>(mapped), static_cast<size_t>(size));
  std::free(mapped);
  return out;
}

using CaseMap = utf8proc_int32_t (*)(utf8proc_int32_t);

std::string map_case(std::string_view text, CaseMap map, uint32_t special,
                     std::string_view special_result) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const uint32_t code = next_code_point(text, at);
    if (code == special) {
      out += special_result;
    } else {
      append_utf8(static_cast<uint32_t>(map(static_cast<utf8proc_int32_t>(code))), out);
    }
  }
  return out;
}

utf8proc_int32_t to_lower(utf8proc_int32_t code) {
  const LowerCaseRange* late = find_range(kLateCapitals, static_cast<uint32_t>(code));
  return late == nullptr ? utf8proc_tolower(code) : code + late->offset;
}

}  // namespace

Utf8Step utf8_step(std::string_view bytes, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t first = byte(at);
  if (first < 0x80) return {1, first, true, false};
  const LeadByte lead = lead_byte(first);
  if (lead.followers == 0) return {1, kReplacement, false, false};
  uint32_t code = first & (0x3Fu >> lead.followers);
  for (int i = 1; i <= lead.followers; ++i) {
    if (at + i >= bytes.size()) return {i, kReplacement, false, true};
    const uint8_t next = byte(at + i);
    const uint8_t low = i == 1 ? lead.low : 0x80;
    const uint8_t high = i == 1 ? lead.high : 0xBF;
    if (next < low || next > high) return {i, kReplacement, false, false};
    code = code << 6 | (next & 0x3F);
  }
  return {lead.followers + 1, code, true, false};
}

uint32_t next_code_point(std::string_view text, size_t& at) {
  const Utf8Step step = utf8_step(text, at);
  at += step.length;
  return step.code_point;
}

void append_utf8(uint32_t code, std::string& out) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

size_t find_invalid_utf8(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    if (static_cast<uint8_t>(bytes[at]) < 0x80) {
      ++at;
      continue;
    }
    const Utf8Step step = utf8_step(bytes, at);
    if (!step.valid) return at;
    at += step.length;
  }
  return std::string_view::npos;
}

std::string replace_invalid_utf8(std::string_view bytes) {
  if (find_invalid_utf8(bytes) == std::string_view::npos) return std::string(bytes);
  std::string out;
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Step step = utf8_step(bytes, at);
    append_utf8(step.code_point, out);
    at += step.length;
  }
  return out;
}

std::string replace_all(std::string_view text, std::string_view what, std::string_view by) {
  std::string out;
  out.reserve(text.size());
  size_t from = 0;
  for (size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, from)) {
    out += text.substr(from, at - from);
    out += by;
    from = at + what.size();
  }
  return out += text.substr(from);
}

bool is_ascii(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

bool is_white_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_numeric(uint32_t code) {
  if (code < 0x80) return code >= '0' && code <= '9';
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  if (category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
      category == UTF8PROC_CATEGORY_NO) {
    return true;
  }
  return find_range(kLateNumbers, code) != nullptr;
}

bool is_word(uint32_t code) {
  if (code < 0x80) return (code | 0x20) - 'a' < 26 || code - '0' < 10 || code == '_';
  if (code == 0x200C || code == 0x200D) return true;
  // Oniguruma takes Latin-1's superscripts and fractions for word characters.
  if (code < 0x100 &&
      utf8proc_category(static_cast<utf8proc_int32_t>(code)) == UTF8PROC_CATEGORY_NO)
    return false;
  return ONIGENC_IS_CODE_WORD(ONIG_ENCODING_UTF8, code) != 0 ||
         find_range(kLateWords, code) != nullptr;
}

std::string normalize_form(std::string_view text, NormalForm form) {
  if (is_ascii(text)) return std::string(text);
  int options = UTF8PROC_STABLE;
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  options |= compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::kNfkc || form == NormalForm::kNfkd) options |= UTF8PROC_COMPAT;
  std::string out;
  size_t begin = 0;  // of the text since the last inert character
  for (size_t at = 0; at < text.size();) {
    const size_t here = at;
    const uint32_t code = next_code_point(text, at);
    if (find_range(kInertInNormalForms, code) == nullptr) continue;
    out += normalize_known(text.substr(begin, here - begin), options);
    out += text.substr(here, at - here);
    begin = at;
  }
  return out + normalize_known(text.substr(begin), options);
}

std::string lower_case(std::string_view text) {
  // U+0130 is the only character whose full lower case has two code points.
  return map_case(text, to_lower, 0x130, "i\xCC\x87");
}

std::string upper_case(std::string_view text) {
  return map_case(text, utf8proc_toupper, 0xDF, "SS");
}

}  // namespace kv
