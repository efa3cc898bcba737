#include "tasks/draws.h"

#include <map>

#include "engine/error.h"
#include "tasks/statistics.h"

namespace kv {

uint64_t Draws::bits() {
  return random_bits(seed_, stream_, counter_++);
}

size_t Draws::below(size_t n) {
  KV_CHECK(n >= 1 && n <= uint64_t{1} << 32, "n {}", n);
  // The upper 32 bits scaled to [0, n): a bias of at most n / 2^32.
  return static_cast<size_t>(((bits() >> 32) * n) >> 32);
}

double Draws::share() {
  return static_cast<double>(bits() >> 11) * 0x1p-53;
}

std::string Draws::digits(int count) {
  std::string text(1, static_cast<char>('1' + below(9)));
  while (static_cast<int>(text.size()) < count) text += static_cast<char>('0' + below(10));
  return text;
}

std::string Draws::letters(int count) {
  std::string text;
  while (static_cast<int>(text.size()) < count) text += static_cast<char>('A' + below(26));
  return text;
}

std::string Draws::made_up(int n_parts) {
  static const std::string consonants = "bdfgklmnprstvz", vowels = "aeiou";
  std::string text;
  for (int i = 0; i < n_parts; ++i) {
    text += consonants[below(consonants.size())];
    text += vowels[below(vowels.size())];
  }
  return text;
}

std::vector<size_t> Draws::places(size_t n, size_t count) {
  KV_CHECK(count <= n, "{} of {}", count, n);
  // The first `count` steps of a shuffle of 0 .. n - 1, of which only what moved is held.
  std::map<size_t, size_t> moved;
  const auto at = [&](size_t i) {
    const auto found = moved.find(i);
    return found == moved.end() ? i : found->second;
  };
  std::vector<size_t> chosen;
  for (size_t i = 0; i < count; ++i) {
    const size_t j = i + below(n - i);
    chosen.push_back(at(j));
    moved[j] = at(i);
  }
  return chosen;
}

}  // namespace kv
