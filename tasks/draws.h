// Random choices of generated prompts: the same for a sample wherever, whenever and beside whichever
// other samples it is made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace kv {

// A stream of choices that depends on (seed, stream) alone. A copy goes on from the same place.
class Draws {
 public:
  Draws(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}

  size_t below(size_t n);  // 0 .. n - 1, equally likely; n >= 1, below 2^32
  double share();          // 0 <= share < 1

  std::string digits(int count);     // the first is not 0
  std::string letters(int count);    // capitals
  std::string made_up(int n_parts);  // consonant and vowel, so many times

  // Fisher and Yates' shuffle.
  template <typename T>
  void shuffle(std::vector<T>& list) {
    for (size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[below(i)]);
  }
  // `count` different places of a list of n, in random order; count <= n.
  std::vector<size_t> places(size_t n, size_t count);

 private:
  uint64_t bits();

  uint64_t seed_, stream_, counter_ = 0;
};

}  // namespace kv
