#include "tasks/scorers/text_match.h"

#include <algorithm>
#include <vector>

namespace kv {
namespace {

constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
constexpr std::string_view kSpaces = " \t\n\v\f\r\x1c\x1d\x1e\x1f";

bool is_article(std::string_view word) {
  return word == "a" || word == "an" || word == "the";
}

}  // namespace

std::string normalize_answer(std::string_view text) {
  std::string plain;
  for (char c : text) {
    if (kPunctuation.find(c) != std::string_view::npos) continue;
    plain += (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
  }
  std::string result;
  const std::string_view all = plain;
  size_t begin = all.find_first_not_of(kSpaces);
  while (begin != std::string_view::npos) {
    const size_t end = std::min(all.find_first_of(kSpaces, begin), all.size());
    const std::string_view word = all.substr(begin, end - begin);
    if (!is_article(word)) {
      if (!result.empty()) result += ' ';
      result += word;
    }
    begin = all.find_first_not_of(kSpaces, end);
  }
  return result;
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
