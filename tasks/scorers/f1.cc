#include "tasks/scorers/f1.h"

#include <map>
#include <sstream>

#include "tasks/scorers/text_match.h"

namespace kv {
namespace {

std::map<std::string, int> word_counts(const std::string& text, int& total) {
  std::map<std::string, int> counts;
  std::istringstream words(normalize_answer(text));  // single spaces alone
  total = 0;
  for (std::string word; std::getline(words, word, ' '); ++total) ++counts[word];
  return counts;
}

}  // namespace

double word_f1(const std::string& prediction, const std::string& truth) {
  int n_predicted = 0, n_true = 0, n_shared = 0;
  const std::map<std::string, int> predicted = word_counts(prediction, n_predicted);
  for (const auto& [word, count] : word_counts(truth, n_true)) {
    const auto other = predicted.find(word);
    if (other != predicted.end()) n_shared += std::min(count, other->second);
  }
  if (n_shared == 0) return 0;
  const double precision = 1.0 * n_shared / n_predicted, recall = 1.0 * n_shared / n_true;
  return 2 * precision * recall / (precision + recall);
}

}  // namespace kv
