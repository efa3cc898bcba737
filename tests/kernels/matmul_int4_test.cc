// Int4Matrix: codes come back as they went in, and the same bits whatever the split.
#include "kernels/matmul_int4.h"

#include <cmath>

#include "kernels/parallel.h"
#include "tests/kernels/harness.h"

namespace kv::test {
namespace {

struct Shape {
  int m, n_in, n_out;
};
const Shape kShapes[] = {{1, 1, 1},    {1, 32, 32},   {2, 33, 31},    {3, 576, 96},
                         {7, 100, 70}, {13, 64, 129}, {129, 160, 40}, {260, 31, 33}};

// Codes with a scale and a minimum for each group, and the matrix that holds them.
struct Coded {
  int n_out, n_in, n_groups = (n_in + kInt8Group - 1) / kInt8Group;
  std::vector<uint8_t> codes;
  std::vector<float> scales, minimums;
  Int4Matrix matrix{n_out, n_in};

  Coded(Rng& rng, int outputs, int inputs) : n_out(outputs), n_in(inputs) {
    for (int i = 0; i < n_out * n_in; ++i) codes.push_back(static_cast<uint8_t>(rng() % 16));
    scales = random_floats(rng, n_out * n_groups);
    minimums = random_floats(rng, n_out * n_groups);
    for (int o = 0; o < n_out; ++o) {
      EXPECT_TRUE(matrix.pack_codes(&scales[o * n_groups], &minimums[o * n_groups],
                                    &codes[o * n_in], o));
    }
  }
  float scaled(int o, int k) const {
    return static_cast<float>(codes[o * n_in + k]) * scales[o * n_groups + k / kInt8Group];
  }
  float minimum(int o, int k) const { return minimums[o * n_groups + k / kInt8Group]; }
};

TEST(Int4Matrix, RowsComeBackAsTheyWentIn) {
  Rng rng(1);
  const Coded w(rng, 40, 75);
  std::vector<float> row(75);
  for (int o = 0; o < w.n_out; ++o) {
    w.matrix.row(o, row.data());
    for (int k = 0; k < w.n_in; ++k) EXPECT_EQ(row[k], w.scaled(o, k) + w.minimum(o, k));
  }
}

TEST(Int4Matrix, RefusesScalesAndMinimumsThatAreNotFinite) {
  for (const float bad : {HUGE_VALF, std::nanf("")}) {
    Int4Matrix matrix(1, 64);
    const std::vector<uint8_t> codes(64);
    const float fine[] = {1, 1}, broken[] = {1, bad};
    EXPECT_TRUE(matrix.pack_codes(fine, fine, codes.data(), 0));
    EXPECT_FALSE(matrix.pack_codes(broken, fine, codes.data(), 0));
    EXPECT_FALSE(matrix.pack_codes(fine, broken, codes.data(), 0));
  }
}

TEST(MatmulInt4, IsTheProductOfTheRoundedFactors) {
  for (const Shape& s : kShapes) {
    Rng rng(static_cast<unsigned>(s.n_in));
    const Coded w(rng, s.n_out, s.n_in);
    const auto bias = random_floats(rng, s.n_out), x = random_floats(rng, s.m * s.n_in);
    std::vector<float> y(static_cast<size_t>(s.m) * s.n_out);
    matmul(x.data(), s.n_in, s.m, w.matrix, bias.data(), y.data(), s.n_out);
    std::vector<int8_t> codes(static_cast<size_t>(w.n_groups) * kInt8Group);
    std::vector<float> scales(w.n_groups);
    std::vector<int32_t> sums(w.n_groups);
    for (int i = 0; i < s.m; ++i) {
      kernels().to_int8(&x[i * s.n_in], s.n_in, codes.data(), scales.data(), sums.data());
      for (int o = 0; o < s.n_out; ++o) {
        double exact = bias[o], magnitude = std::fabs(bias[o]);
        for (int k = 0; k < s.n_in; ++k) {
          const double rounded = static_cast<double>(codes[k]) * scales[k / kInt8Group];
          exact += rounded * w.scaled(o, k) + rounded * w.minimum(o, k);
          magnitude += std::fabs(rounded * w.scaled(o, k)) + std::fabs(rounded * w.minimum(o, k));
        }
        EXPECT_NEAR(y[static_cast<size_t>(i) * s.n_out + o], exact, 1e-6 * magnitude + 1e-6)
            << describe("m", s.m, "n_in", s.n_in, "n_out", s.n_out, "row", i, "output", o);
      }
    }
  }
}

TEST(MatmulInt4, HasTheSameBitsForAnyRowsTogetherAndAnyNumberOfThreads) {
  const int before = threads();
  for (const Shape& s : kShapes) {
    Rng rng(5);
    const Coded w(rng, s.n_out, s.n_in);
    const auto x = random_floats(rng, s.m * s.n_in);
    std::vector<float> alone(static_cast<size_t>(s.m) * s.n_out);
    set_threads(1);
    for (int i = 0; i < s.m; ++i) {
      matmul(x.data() + i * s.n_in, s.n_in, 1, w.matrix, nullptr, alone.data() + i * s.n_out,
             s.n_out);
    }
    for (const int n_threads : {1, 2, 5}) {
      set_threads(n_threads);
      std::vector<float> together(alone.size());
      matmul(x.data(), s.n_in, s.m, w.matrix, nullptr, together.data(), s.n_out);
      EXPECT_EQ(together, alone) << describe("m", s.m, "threads", n_threads);
    }
  }
  set_threads(before);
}

}  // namespace
}  // namespace kv::test
