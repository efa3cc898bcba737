#include "tasks/scorers/text_match.h"

#include <algorithm>
#include <vector>

#include "tasks/unicode.h"

namespace kv {
namespace {

constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
bool is_article(std::u32string_view word) {
  return word == U"a" || word == U"an" || word == U"the";
}

bool is_punctuation(char32_t point) {
  return point < 0x80 && kPunctuation.find(static_cast<char>(point)) != std::string_view::npos;
}

}  // namespace

std::string normalize_answer(std::string_view text) {
  std::u32string plain = lower(code_points(text));
  std::erase_if(plain, is_punctuation);
  std::u32string without_articles;
  for (size_t begin = 0; begin < plain.size();) {
    size_t end = begin + 1;
    if (is_word(plain[begin])) {
      while (end < plain.size() && is_word(plain[end])) ++end;
    }
    const std::u32string_view word(plain.data() + begin, end - begin);
    without_articles += is_article(word) ? U" " : word;
    begin = end;
  }
  return utf8_text(collapse_spaces(without_articles));
}

size_t longest_common_substring(std::string_view a, std::string_view b) {
  // length[j]: the longest common run that ends at a[i] and b[j - 1].
  std::vector<size_t> length(b.size() + 1, 0);
  size_t best = 0;
  for (char c : a) {
    for (size_t j = b.size(); j > 0; --j) {  // downwards: length[j - 1] is still the row before
      length[j] = c == b[j - 1] ? length[j - 1] + 1 : 0;
      best = std::max(best, length[j]);
    }
  }
  return best;
}

}  // namespace kv
