#include "tasks/scorers/edit_sim.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "tasks/unicode.h"

namespace kv {
namespace {

struct Range {
  size_t a_begin, a_end, b_begin, b_end;
};

class Matcher {
 public:
  Matcher(std::u32string a, std::u32string b)
      : a_(std::move(a)), b_(std::move(b)), lengths_(b_.size() + 1), next_(b_.size() + 1) {
    for (size_t j = 0; j < b_.size(); ++j) places_[b_[j]].push_back(j);
    if (b_.size() < 200) return;
    const size_t most = b_.size() / 100 + 1;
    for (auto& [point, places] : places_) {
      if (places.size() > most) places.clear();
    }
  }

  size_t matches() {
    size_t total = 0;
    std::vector<Range> open = {{0, a_.size(), 0, b_.size()}};
    while (!open.empty()) {
      const Range range = open.back();
      open.pop_back();
      const Range best = longest(range);
      const size_t size = best.a_end - best.a_begin;
      if (size == 0) continue;
      total += size;
      open.push_back({range.a_begin, best.a_begin, range.b_begin, best.b_begin});
      open.push_back({best.a_end, range.a_end, best.b_end, range.b_end});
    }
    return total;
  }

 private:
  // The longest common run; among equal ones that which starts first in a, then in b.
  Range longest(const Range& range) {
    size_t i_best = range.a_begin, j_best = range.b_begin, size = 0;
    std::vector<size_t> touched, touched_next;
    for (size_t i = range.a_begin; i < range.a_end; ++i) {
      touched_next.clear();
      const auto places = places_.find(a_[i]);
      if (places != places_.end()) {
        for (size_t j : places->second) {
          if (j < range.b_begin) continue;
          if (j >= range.b_end) break;
          const size_t k = next_[j + 1] = lengths_[j] + 1;  // lengths_[j]: of the run up to j - 1
          touched_next.push_back(j + 1);
          if (k > size) i_best = i + 1 - k, j_best = j + 1 - k, size = k;
        }
      }
      for (size_t j : touched) lengths_[j] = 0;
      std::swap(lengths_, next_);
      std::swap(touched, touched_next);
    }
    for (size_t j : touched) lengths_[j] = 0;
    // Frequent code points start no match, but lengthen one.
    while (i_best > range.a_begin && j_best > range.b_begin && a_[i_best - 1] == b_[j_best - 1])
      --i_best, --j_best, ++size;
    while (i_best + size < range.a_end && j_best + size < range.b_end &&
           a_[i_best + size] == b_[j_best + size]) {
      ++size;
    }
    return {i_best, i_best + size, j_best, j_best + size};
  }

  std::u32string a_, b_;
  std::unordered_map<char32_t, std::vector<size_t>> places_;  // in b, ascending
  std::vector<size_t> lengths_, next_;  // [j + 1]: length of the run that ends at b[j]; else 0
};

}  // namespace

double edit_similarity(const std::string& a, const std::string& b) {
  std::u32string left = code_points(a), right = code_points(b);
  const size_t both = left.size() + right.size();
  if (both == 0) return 1;
  return 2.0 * static_cast<double>(Matcher(std::move(left), std::move(right)).matches()) /
         static_cast<double>(both);
}

}  // namespace kv
