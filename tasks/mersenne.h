// Python's random module, as far as published prompts were made with it.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace kv {

// random.seed(seed) and what follows from it: the Mersenne Twister MT19937 (Matsumoto and Nishimura
// 1998), seeded by its authors' init_by_array with the seed's 32-bit words.
class PythonRandom {
 public:
  explicit PythonRandom(uint32_t seed);

  uint32_t bits(int count);  // getrandbits(count), 1..32
  uint32_t below(
      uint32_t n);  // what random.choice indexes with: bits, drawn again until < n; n >= 1
  std::string digits(int count);  // `count` times random.choice("0123456789")

 private:
  static constexpr int kSize = 624;
  void seed_words(uint32_t seed);
  void refill();

  std::array<uint32_t, kSize> state_;
  int next_ = kSize;  // words of state_ that were used
};

}  // namespace kv
