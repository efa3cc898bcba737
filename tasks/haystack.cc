#include "tasks/haystack.h"

#include <algorithm>
#include <utility>

#include "engine/error.h"
#include "tasks/unicode.h"

namespace kv {
namespace {

// Bytes of the white space character that begins at text[at]; 0 where there is none.
size_t space_bytes(std::string_view text, size_t at) {
  const CodePoint point = code_point_at(text, at);
  return is_space(point.value) ? static_cast<size_t>(point.n_bytes) : 0;
}

std::vector<size_t> word_starts(std::string_view text) {
  std::vector<size_t> starts;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const size_t space = space_bytes(text, at);
    if (space == 0 && !in_word) starts.push_back(at);
    in_word = space == 0;
    at += space == 0 ? 1 : space;
  }
  return starts;
}

}  // namespace

Haystack::Haystack(std::string text) : unit_(std::move(text)), text_(unit_) {
  starts_ = word_starts(text_);
  if (starts_.empty()) throw_data("the background text has no words");
}

void Haystack::grow(size_t n_words) {
  // One word more than asked for: the last word of text_ may go on in the next repetition.
  while (starts_.size() <= n_words) {
    text_ += unit_;
    starts_ = word_starts(text_);
  }
}

std::string Haystack::words(size_t begin, size_t end) {
  KV_CHECK(begin <= end, "begin {} end {}", begin, end);
  if (begin == end) return "";
  grow(end);
  size_t stop = starts_[end];  // back over the white space that belongs to the last word
  const size_t last = starts_[end - 1];
  size_t filled = last;
  for (size_t at = last; at < stop;) {
    const size_t space = space_bytes(text_, at);
    at += space == 0 ? 1 : space;
    if (space == 0) filled = at;
  }
  return text_.substr(starts_[begin], filled - starts_[begin]);
}

std::string Haystack::with_needle(size_t n_words, double depth, std::string_view needle) {
  const size_t split = static_cast<size_t>(static_cast<double>(n_words) * depth);
  return fmt::format("{} {} {} ", words(0, split), needle, words(split, n_words));
}

std::string Haystack::with_texts(size_t n_words, std::vector<PlacedText> texts) {
  std::stable_sort(texts.begin(), texts.end(),
                   [](const PlacedText& a, const PlacedText& b) { return a.word < b.word; });
  std::string result;
  const auto append = [&result](const std::string& part) {
    if (!part.empty()) result += part + " ";
  };
  size_t done = 0;
  for (const PlacedText& one : texts) {
    append(words(done, std::min(one.word, n_words)));
    append(one.text);
    done = std::min(one.word, n_words);
  }
  append(words(done, n_words));
  return result;
}

size_t largest_that_fits(size_t limit, size_t guess, const std::function<bool(size_t)>& fits) {
  if (guess > 0 && guess + 1 < limit && fits(guess) && !fits(guess + 1)) return guess;
  size_t low = 0, high = limit;
  while (high - low > 1) {
    const size_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace kv
