// The choice of the instruction set. Each case needs a process of its own, since the choice is made
// once.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "kernels/kernels.h"

namespace kv::test {
namespace {

constexpr int kThrown = 7;

// Exits with 0 where isa() is named `expected`, with kThrown and the message on stderr where it
// throws.
[[noreturn]] void choose(const char* wish, const char* expected) {
  setenv("KVENGINE_ISA", wish, 1);
  try {
    std::exit(std::strcmp(isa_name(isa()), expected) == 0 && &kernels() == kernels_for(isa()) ? 0
                                                                                              : 1);
  } catch (const std::runtime_error& error) {
    std::fputs(error.what(), stderr);
    std::exit(kThrown);
  }
}

class DispatchDeathTest : public testing::Test {
 protected:
  // A fresh process that runs only this test: in a fork the choice might have been made.
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(DispatchDeathTest, TakesTheWish) {
  for (Isa wish : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
    const char* name = isa_name(wish);
    if (kernels_for(wish) != nullptr) {
      EXPECT_EXIT(choose(name, name), testing::ExitedWithCode(0), "");
    } else {
      EXPECT_EXIT(choose(name, name), testing::ExitedWithCode(kThrown), "this CPU lacks");
    }
  }
}

TEST_F(DispatchDeathTest, TakesTheBestWithoutAWish) {
  const Isa best = kernels_for(Isa::kAvx512) != nullptr ? Isa::kAvx512
                   : kernels_for(Isa::kAvx2) != nullptr ? Isa::kAvx2
                                                        : Isa::kScalar;
  EXPECT_EXIT(choose("", isa_name(best)), testing::ExitedWithCode(0), "");
}

TEST_F(DispatchDeathTest, RefusesAnUnknownWish) {
  EXPECT_EXIT(choose("sse9", ""), testing::ExitedWithCode(kThrown),
              "KVENGINE_ISA=sse9.*expected scalar, avx2 or avx512");
}

TEST(Dispatch, NamesDTypes) {
  EXPECT_STREQ(dtype_name(DType::kF32), "f32");
  EXPECT_STREQ(dtype_name(DType::kF16), "f16");
  EXPECT_STREQ(dtype_name(DType::kBF16), "bf16");
}

}  // namespace
}  // namespace kv::test
