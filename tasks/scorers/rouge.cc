#include "tasks/scorers/rouge.h"

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "tasks/unicode.h"

namespace kv {
namespace {

using Words = std::vector<int>;  // a number for each different word

// Words of both texts under common numbers.
class Numbering {
 public:
  std::vector<Words> sentences(const std::string& text) {
    std::vector<Words> result;
    const std::u32string points = code_points(text);
    for (size_t begin = 0; begin <= points.size();) {
      const size_t end = std::min(points.find(U'.', begin), points.size());
      if (end > begin) result.push_back(words(points.substr(begin, end - begin)));
      begin = end + 1;
    }
    return result;
  }

 private:
  // A sentence of white space alone has one word, the empty one.
  Words words(const std::u32string& sentence) {
    const std::u32string text = collapse_spaces(sentence);
    Words result;
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(U' ', begin), text.size());
      const auto next = static_cast<int>(numbers_.size());
      result.push_back(numbers_.try_emplace(text.substr(begin, end - begin), next).first->second);
      begin = end + 1;
    }
    return result;
  }

  std::map<std::u32string, int> numbers_;
};

size_t n_distinct(const std::vector<Words>& sentences) {
  std::set<int> distinct;
  for (const Words& sentence : sentences) distinct.insert(sentence.begin(), sentence.end());
  return distinct.size();
}

// Adds the words of one longest common subsequence of x and y.
void add_common(const Words& x, const Words& y, std::set<int>& common) {
  const size_t width = y.size() + 1;
  std::vector<uint32_t> table((x.size() + 1) * width, 0);  // [i, j]: length for x[:i] and y[:j]
  for (size_t i = 1; i <= x.size(); ++i) {
    for (size_t j = 1; j <= y.size(); ++j) {
      table[i * width + j] = x[i - 1] == y[j - 1]
                                 ? table[(i - 1) * width + j - 1] + 1
                                 : std::max(table[(i - 1) * width + j], table[i * width + j - 1]);
    }
  }
  for (size_t i = x.size(), j = y.size(); i > 0 && j > 0;) {
    if (x[i - 1] == y[j - 1]) {
      common.insert(x[i - 1]);
      --i, --j;
    } else if (table[(i - 1) * width + j] > table[i * width + j - 1]) {
      --i;
    } else {
      --j;
    }
  }
}

}  // namespace

double rouge_l(const std::string& hypothesis, const std::string& reference) {
  Numbering numbering;
  const std::vector<Words> hypotheses = numbering.sentences(hypothesis);
  const std::vector<Words> references = numbering.sentences(reference);
  if (hypotheses.empty() || references.empty()) return 0;
  std::set<int> common;
  for (const Words& x : references) {
    for (const Words& y : hypotheses) add_common(x, y, common);
  }
  const auto n_common = static_cast<double>(common.size());
  const double recall = n_common / static_cast<double>(n_distinct(references));
  const double precision = n_common / static_cast<double>(n_distinct(hypotheses));
  return 2.0 * ((precision * recall) / (precision + recall + 1e-8));
}

}  // namespace kv
