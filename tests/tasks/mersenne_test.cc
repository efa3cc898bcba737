#include "tasks/mersenne.h"

#include <gtest/gtest.h>

namespace kv {
namespace {

// [random.getrandbits(32) for _ in range(3)] and friends of CPython.
TEST(PythonRandom, SameBitsAsPython) {
  PythonRandom seed42(42);
  EXPECT_EQ(seed42.bits(32), 2746317213u);
  EXPECT_EQ(seed42.bits(32), 478163327u);
  EXPECT_EQ(seed42.bits(32), 107420369u);
  PythonRandom seed0(0);
  EXPECT_EQ(seed0.bits(32), 3626764237u);
  PythonRandom late(42);
  for (int i = 0; i < 2000; ++i) late.bits(32);  // over three refills
  EXPECT_EQ(late.bits(32), 426724858u);
}

TEST(PythonRandom, FirstKeysOfSeed42) {
  PythonRandom random(42);
  for (const char* key : {"1043321", "8196001", "3389083", "8637940", "2654235"}) {
    EXPECT_EQ(random.digits(7), key);
  }
}

TEST(PythonRandom, BelowStaysBelow) {
  PythonRandom random(7);
  for (uint32_t n : {1u, 2u, 3u, 10u, 1000u}) {
    for (int i = 0; i < 100; ++i) EXPECT_LT(random.below(n), n);
  }
}

}  // namespace
}  // namespace kv
