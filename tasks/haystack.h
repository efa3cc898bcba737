// A long text to hide sentences in, measured in words.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

// A sentence and where it goes: before this word of the text.
struct PlacedText {
  size_t word = 0;
  std::string text;
};

// A background text, repeated from its start (with nothing between) as often as is needed. A word
// is a run of bytes that are no white space, with the white space that follows it.
class Haystack {
 public:
  explicit Haystack(std::string text);

  // The words [begin, end) without white space at both ends; empty for begin == end.
  std::string words(size_t begin, size_t end);

  // The first n_words words with `needle` put in before word trunc(n_words * depth): the words
  // before, the needle, the words after and an empty text, joined by single spaces. depth: 0..1.
  std::string with_needle(size_t n_words, double depth, std::string_view needle);

  // The first n_words words with all `texts` put in, those of one place in the order given; joined
  // by single spaces, with one at the end.
  std::string with_texts(size_t n_words, std::vector<PlacedText> texts);

 private:
  void grow(size_t n_words);  // until text_ has n_words words whose ends are known

  std::string unit_;  // the background once
  std::string text_;
  std::vector<size_t> starts_;  // where each word of text_ begins, in bytes
};

// The largest n below `limit` for which fits(n), which holds for 0 and, as a rule, for every n below
// one for which it holds. guess: tried first. By bisection.
size_t largest_that_fits(size_t limit, size_t guess, const std::function<bool(size_t)>& fits);

}  // namespace kv
