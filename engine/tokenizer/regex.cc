#include "engine/tokenizer/regex.h"

#include <oniguruma.h>

#include <mutex>
#include <utility>

#include "engine/error.h"
#include "engine/tokenizer/unicode.h"
#include "engine/tokenizer/unicode_tables.h"

namespace kv {
namespace {

const OnigUChar* bytes(const char* text) {
  return reinterpret_cast<const OnigUChar*>(text);
}

void start_engine() {
  static std::once_flag once;
  std::call_once(once, [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    onig_initialize(encodings, 1);
  });
}

std::string error_text(int code, OnigErrorInfo* info = nullptr) {
  OnigUChar message[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int length = onig_error_code_to_str(message, code, info);
  return {reinterpret_cast<char*>(message), static_cast<size_t>(length)};
}

// The text with a stand-in for every character that our Oniguruma takes for unassigned. All offsets
// stay the same. Empty where nothing needs one, which is nearly always.
std::string with_stand_ins(std::string_view text) {
  std::string copy;
  for (size_t at = 0; at < text.size();) {
    if (static_cast<uint8_t>(text[at]) < 0xE0) {  // all such characters have three or four bytes
      ++at;
      continue;
    }
    const size_t begin = at;
    const StandInRange* found = find_range(kStandIns, next_code_point(text, at));
    if (found == nullptr) continue;
    if (copy.empty()) copy = text;
    std::string stand_in;
    append_utf8(found->stand_in, stand_in);
    copy.replace(begin, at - begin, stand_in);
  }
  return copy;
}

}  // namespace

Regex::Regex(std::string_view pattern, std::string where) : where_(std::move(where)) {
  start_engine();
  OnigRegex regex = nullptr;
  OnigErrorInfo info;
  const int status = onig_new(&regex, bytes(pattern.data()), bytes(pattern.data() + pattern.size()),
                              ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
  if (status != ONIG_NORMAL) {
    throw_data("{}: not a regular expression: {}; found {}", where_, error_text(status, &info),
               pattern);
  }
  compiled_ = std::shared_ptr<void>(regex, [](void* r) { onig_free(static_cast<OnigRegex>(r)); });
}

void Regex::find_all(std::string_view text, std::vector<Span>& matches) const {
  const std::unique_ptr<OnigRegion, void (*)(OnigRegion*)> region(
      onig_region_new(), [](OnigRegion* r) { onig_region_free(r, 1); });
  const auto regex = static_cast<OnigRegex>(compiled_.get());
  const std::string copy = with_stand_ins(text);
  const OnigUChar* begin = bytes(copy.empty() ? text.data() : copy.data());
  const OnigUChar* end = begin + text.size();
  size_t from = 0;
  size_t last_end = std::string_view::npos;
  while (from <= text.size()) {
    const int found =
        onig_search(regex, begin, end, begin + from, end, region.get(), ONIG_OPTION_NONE);
    if (found == ONIG_MISMATCH) return;
    if (found < 0)
      throw_data("{}: cannot search a text of {} bytes: {}", where_, text.size(),
                 error_text(found));
    const Span span{static_cast<size_t>(region->beg[0]), static_cast<size_t>(region->end[0]), true};
    if (span.begin == span.end &&
        span.end == last_end) {  // no match twice at one place: go one character on
      from += from < text.size() ? static_cast<size_t>(utf8_step(text, from).length) : 1;
      continue;
    }
    matches.push_back(span);
    from = last_end = span.end;
  }
}

std::string escape_regex(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\.+*?()|[]{}^$#&-~").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace kv
