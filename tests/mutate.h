// Broken copies of valid inputs, the same ones in every run. What reads them must succeed or throw
// kv::Error: everything else (another exception, a crash, a sanitizer's report) is a bug.
//
// KVENGINE_FUZZ_ROUNDS=N multiplies the copies; KVENGINE_FUZZ_SEED=N makes other ones.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/error.h"

namespace kv {

// Random numbers of one copy, a function of (seed, copy, step) alone, so that any copy can be made
// again without those before it.
class Dice {
 public:
  Dice(uint64_t seed, uint64_t copy) : state_(mix(mix(seed) ^ copy)) {}
  // 0 .. n - 1; 0 for n = 0.
  size_t below(size_t n) { return n == 0 ? 0 : mix(state_ + ++step_) % n; }

 private:
  static uint64_t mix(uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
  }
  uint64_t state_, step_ = 0;
};

namespace internal {

inline std::string piece(const std::string& text, Dice& dice, size_t longest) {
  const size_t at = dice.below(text.size() + 1);
  return text.substr(at, 1 + dice.below(longest));
}

// A little-endian number that is likely to be mistaken: 0, small, all ones, sign bits, 2^k.
inline std::string odd_number(Dice& dice) {
  const size_t bytes = size_t{1} << dice.below(4);
  const uint64_t one = uint64_t{1} << dice.below(64);
  const uint64_t choices[] = {0, 1, one, one - 1, ~uint64_t{0}, ~one, dice.below(300)};
  const uint64_t value = choices[dice.below(std::size(choices))];
  std::string out;
  for (size_t i = 0; i < bytes; ++i) out += static_cast<char>(value >> 8 * i);
  return out;
}

}  // namespace internal

// One to four changes. words: what the format's own grammar is made of.
inline std::string mutate(std::string text, const std::vector<std::string>& words, Dice& dice) {
  const size_t changes = 1 + dice.below(4);
  for (size_t i = 0; i < changes; ++i) {
    const size_t at = dice.below(text.size() + 1);
    const std::string& word = words[dice.below(words.size())];
    switch (dice.below(9)) {
      case 0:  // a bit
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << dice.below(8)));
        break;
      case 1:  // a byte
        if (at < text.size()) text[at] = static_cast<char>(dice.below(256));
        break;
      case 2:
        text.erase(at, 1 + dice.below(12));
        break;
      case 3:  // cut off
        if (dice.below(4) == 0) text.resize(at);
        break;
      case 4:  // something that stands elsewhere
        text.insert(at, internal::piece(text, dice, 60));
        break;
      case 5:
        text.insert(at, word);
        break;
      case 6:
        text.replace(at, std::min(word.size(), text.size() - at), word);
        break;
      case 7: {
        const std::string number = internal::odd_number(dice);
        text.replace(at, std::min(number.size(), text.size() - at), number);
        break;
      }
      case 8: {  // nested deeply
        const std::string opening = word.substr(0, 1 + dice.below(3));
        const size_t times = dice.below(20) == 0 ? 20000 : 3;
        std::string many;
        for (size_t n = 0; n < times; ++n) many += opening;
        text.insert(at, many);
        break;
      }
    }
  }
  return text;
}

// Reads `rounds` broken copies of the inputs in turn. words must not be empty.
inline void expect_error_or_success(const std::vector<std::string>& valid,
                                    const std::vector<std::string>& words, size_t rounds,
                                    const std::function<void(const std::string&)>& read) {
  const char* factor = std::getenv("KVENGINE_FUZZ_ROUNDS");
  const char* seed = std::getenv("KVENGINE_FUZZ_SEED");
  if (factor != nullptr) rounds *= std::strtoull(factor, nullptr, 10);
  size_t refused = 0;
  for (size_t copy = 0; copy < rounds; ++copy) {
    Dice dice(seed == nullptr ? 1 : std::strtoull(seed, nullptr, 10), copy);
    const std::string text = mutate(valid[copy % valid.size()], words, dice);
    try {
      read(text);
    } catch (const Error& error) {
      EXPECT_FALSE(std::string_view(error.what()).empty());
      ++refused;
    } catch (const std::exception& error) {
      ADD_FAILURE() << "copy " << copy << ": " << error.what()
                    << "\ninput: " << testing::PrintToString(text.substr(0, 2000));
    }
  }
  EXPECT_GT(refused, 0u) << "no copy was refused: are they broken at all?";
}

}  // namespace kv
