#include "engine/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/half.h"
#include "kernels/parallel.h"

namespace kv {
namespace {

std::vector<float> random_values(size_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values) value = normal(generator);
  return values;
}

// y (m, n_out) in double.
std::vector<double> reference(const std::vector<float>& w, const std::vector<float>& bias,
                              const std::vector<float>& x, int m, int n_out, int n_in) {
  std::vector<double> y(static_cast<size_t>(m) * n_out);
  for (int i = 0; i < m; ++i) {
    for (int o = 0; o < n_out; ++o) {
      double sum = bias.empty() ? 0 : bias[o];
      for (int k = 0; k < n_in; ++k) sum += double{w[o * n_in + k]} * x[i * n_in + k];
      y[i * n_out + o] = sum;
    }
  }
  return y;
}

struct Case {
  int n_out, n_in, m;
};

constexpr LinearKind kExactKinds[] = {LinearKind::kPacked, LinearKind::kOpenblas};

class LinearShapes : public testing::TestWithParam<std::tuple<Case, LinearKind, bool>> {};

TEST_P(LinearShapes, MultipliesAsInDouble) {
  const auto [shape, kind, with_bias] = GetParam();
  const auto [n_out, n_in, m] = shape;
  const auto w = random_values(static_cast<size_t>(n_out) * n_in, 1);
  const auto x = random_values(static_cast<size_t>(m) * n_in, 2);
  const auto bias = with_bias ? random_values(n_out, 3) : std::vector<float>();
  Linear linear(n_out, n_in, DType::kF32, kind);
  // In two pieces, as q, k and v are stacked.
  const int first = n_out / 3;
  linear.set_rows(w.data(), 0, first);
  linear.set_rows(w.data() + static_cast<size_t>(first) * n_in, first, n_out - first);
  if (with_bias) linear.set_bias(bias.data(), 0, n_out);
  const int ldy = n_out + 5;
  std::vector<float> y(static_cast<size_t>(m) * ldy, NAN);
  linear.multiply(x.data(), n_in, m, y.data(), ldy);
  const auto expected = reference(w, bias, x, m, n_out, n_in);
  for (int i = 0; i < m; ++i) {
    for (int o = 0; o < n_out; ++o) {
      ASSERT_NEAR(y[i * ldy + o], expected[i * n_out + o], 1e-4) << "row " << i << " output " << o;
    }
    for (int o = n_out; o < ldy; ++o) ASSERT_TRUE(std::isnan(y[i * ldy + o])) << "padding written";
  }
}

INSTANTIATE_TEST_SUITE_P(All, LinearShapes,
                         testing::Combine(testing::Values(Case{1, 1, 1}, Case{33, 7, 1},
                                                          Case{96, 48, 5}, Case{600, 31, 3},
                                                          Case{64, 16, 0}),
                                          testing::ValuesIn(kExactKinds), testing::Bool()));

TEST(Linear, BiasOfSomeOutputsLeavesTheOthersAlone) {
  const std::vector<float> w = {1, 2, 3}, x = {10}, bias = {5};
  for (const LinearKind kind : kExactKinds) {
    Linear linear(3, 1, DType::kF32, kind);
    linear.set_rows(w.data(), 0, 3);
    linear.set_bias(bias.data(), 1, 1);
    std::vector<float> y(3);
    linear.multiply(x.data(), 1, 1, y.data(), 3);
    EXPECT_EQ(y, (std::vector<float>{10, 25, 30}));
  }
}

TEST(Linear, GivesItsRowsBack) {
  const int n_out = 70, n_in = 9;
  const auto w = random_values(n_out * n_in, 4);
  for (const LinearKind kind : kExactKinds) {
    Linear linear(n_out, n_in, DType::kF32, kind);
    linear.set_rows(w.data(), 0, n_out);
    std::vector<float> row(n_in);
    for (int o = 0; o < n_out; ++o) {
      linear.row(o, row.data());
      EXPECT_TRUE(std::equal(row.begin(), row.end(), w.begin() + o * n_in)) << "row " << o;
    }
  }
}

TEST(Linear, HalfWeightsAreWidenedExactly) {
  const std::vector<uint16_t> half = {0x3c00, 0xc000, 0x3555};  // 1, -2, 0.333251953125
  Linear linear(3, 1, DType::kF16);
  linear.set_rows(half.data(), 0, 3);
  std::vector<float> y(3);
  const float x = 3;
  linear.multiply(&x, 1, 1, y.data(), 3);
  EXPECT_EQ(y, (std::vector<float>{3, -6, 3 * 0.333251953125f}));
}

TEST(Linear, EightBitsMultiplyAsTheMatrixDoes) {
  const int n_out = 70, n_in = 50, m = 3;
  const auto w = random_values(n_out * n_in, 7), x = random_values(m * n_in, 8);
  const auto bias = random_values(n_out, 9);
  Linear linear(n_out, n_in, DType::kF32, LinearKind::kInt8);
  EXPECT_TRUE(linear.set_rows(w.data(), 0, 30));
  EXPECT_TRUE(linear.set_rows(w.data() + 30 * n_in, 30, n_out - 30));
  linear.set_bias(bias.data(), 0, n_out);
  Int8Matrix matrix(n_out, n_in);
  ASSERT_TRUE(matrix.pack_rows(w.data(), 0, n_out));
  EXPECT_EQ(linear.bytes(), matrix.bytes() + bias.size() * sizeof(float));
  std::vector<float> y(m * n_out), expected(m * n_out), row(n_in), expected_row(n_in);
  linear.multiply(x.data(), n_in, m, y.data(), n_out);
  matmul(x.data(), n_in, m, matrix, bias.data(), expected.data(), n_out);
  EXPECT_EQ(y, expected);
  linear.row(69, row.data());
  matrix.row(69, expected_row.data());
  EXPECT_EQ(row, expected_row);
  EXPECT_FALSE(linear.set_rows(std::vector<float>(n_in, 1e9f).data(), 0, 1));
}

TEST(Linear, CodesOfAFileAreTakenAsTheyAre) {
  // No code of 127 and scales that rounding to eight bits would not find again.
  const std::vector<uint16_t> scales = {0x2c13, 0xb001, 0x0001, 0x3c00};  // (2 outputs, 2 groups)
  std::vector<int8_t> codes(2 * 64);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<int8_t>(i * 37 % 201 - 100);
  Linear linear(2, 64, DType::kF32, LinearKind::kInt8);
  for (int o = 0; o < 2; ++o)
    ASSERT_TRUE(linear.set_codes(scales.data() + 2 * o, codes.data() + 64 * o, o));
  std::vector<float> row(64), x(64);
  for (size_t k = 0; k < x.size(); ++k) x[k] = static_cast<float>(k % 32 == 3 ? 127 : k % 7) - 2;
  x[3] = x[35] = 127;  // steps of 1: activations that eight bits hold exactly
  std::vector<float> y(2);
  linear.multiply(x.data(), 64, 1, y.data(), 2);
  for (int o = 0; o < 2; ++o) {
    linear.row(o, row.data());
    float expected = 0;
    for (int g = 0; g < 2; ++g) {
      const float scale = f16_to_float(scales[2 * o + g]);
      int dot = 0;
      for (int k = 32 * g; k < 32 * (g + 1); ++k) {
        EXPECT_EQ(row[k], static_cast<float>(codes[64 * o + k]) * scale) << o << " " << k;
        dot += codes[64 * o + k] * static_cast<int>(x[k]);
      }
      expected = std::fma(static_cast<float>(dot), scale, expected);
    }
    EXPECT_EQ(y[o], expected) << o;
  }
  codes[5] = -128;
  EXPECT_FALSE(linear.set_codes(scales.data(), codes.data(), 0));
  const std::vector<uint16_t> infinite = {0x7c00, 0x3c00};
  EXPECT_FALSE(linear.set_codes(infinite.data(), codes.data() + 64, 1));
}

TEST(Linear, ASharedCopyUsesTheSameMemory) {
  const std::vector<float> w = {1, 2};
  Linear first(2, 1, DType::kF32);
  const Linear second = first.share();
  first.set_rows(w.data(), 0, 2);
  float value = 0;
  second.row(1, &value);
  EXPECT_EQ(value, 2);
  EXPECT_EQ(second.bytes(), first.bytes());
}

TEST(Linear, OpenBlasDoesNotDependOnThreads) {
  const int n_out = 700, n_in = 64, m = 4;
  const auto w = random_values(n_out * n_in, 5), x = random_values(m * n_in, 6);
  Linear linear(n_out, n_in, DType::kF32, LinearKind::kOpenblas);
  linear.set_rows(w.data(), 0, n_out);
  std::vector<float> one(m * n_out), two(m * n_out);
  const int before = threads();
  set_threads(1);
  linear.multiply(x.data(), n_in, m, one.data(), n_out);
  set_threads(2);
  linear.multiply(x.data(), n_in, m, two.data(), n_out);
  set_threads(before);
  EXPECT_EQ(one, two);
}

}  // namespace
}  // namespace kv
