// Int8Matrix: how far rounding may go, and the same bits whatever the split.
#include "kernels/matmul_int8.h"

#include <algorithm>
#include <cmath>

#include "kernels/half.h"
#include "kernels/parallel.h"
#include "tests/kernels/harness.h"

namespace kv::test {
namespace {

struct Shape {
  int m, n_in, n_out;
};
const Shape kShapes[] = {{1, 1, 1},    {1, 32, 32},   {2, 33, 31},    {3, 576, 96},
                         {7, 100, 70}, {13, 64, 129}, {129, 160, 40}, {260, 31, 33}};

// The group's largest magnitude around element i of a row of n.
float group_max(const float* row, int i, int n) {
  float largest = 0;
  const int first = i / kInt8Group * kInt8Group;
  for (int k = first; k < std::min(first + kInt8Group, n); ++k)
    largest = std::max(largest, std::fabs(row[k]));
  return largest;
}

Int8Matrix packed(const std::vector<float>& w, int n_out, int n_in) {
  Int8Matrix matrix(n_out, n_in);
  EXPECT_TRUE(matrix.pack_rows(w.data(), 0, n_out));
  return matrix;
}

TEST(Int8Matrix, RowsComeBackWithinHalfAStep) {
  Rng rng(1);
  const int n_out = 40, n_in = 75;
  const auto w = random_floats(rng, n_out * n_in);
  const Int8Matrix matrix = packed(w, n_out, n_in);
  std::vector<float> row(n_in);
  for (int o = 0; o < n_out; ++o) {
    matrix.row(o, row.data());
    for (int k = 0; k < n_in; ++k) {
      // Half a step; the largest may lose as much as its scale does in half precision.
      const float largest = group_max(&w[o * n_in], k, n_in);
      EXPECT_NEAR(row[k], w[o * n_in + k], largest / 127 * 0.5f + largest / 2048) << o << " " << k;
    }
  }
}

TEST(Int8Matrix, KeepsValuesThatAreMultiplesOfAHalfScaleExactly) {
  // What a Q8_0 file holds: code * scale with a scale in half precision and a code of 127 somewhere.
  std::vector<float> w(64);
  for (int k = 0; k < 64; ++k) w[k] = f16_to_float(0x2c13) * static_cast<float>(127 - 3 * (k % 32));
  const Int8Matrix matrix = packed(w, 1, 64);
  std::vector<float> row(64);
  matrix.row(0, row.data());
  EXPECT_EQ(row, w);
}

TEST(Int8Matrix, RefusesWhatItCannotHold) {
  for (float bad : {HUGE_VALF, std::nanf(""), 1e7f}) {
    std::vector<float> w(64, 1.0f);
    w[40] = bad;
    Int8Matrix matrix(2, 32);
    EXPECT_FALSE(matrix.pack_rows(w.data(), 0, 2)) << bad;
  }
}

TEST(MatmulInt8, IsTheProductOfTheRoundedFactors) {
  for (const Shape& s : kShapes) {
    Rng rng(static_cast<unsigned>(s.n_in));
    const auto w = random_floats(rng, s.n_out * s.n_in), bias = random_floats(rng, s.n_out);
    const auto x = random_floats(rng, s.m * s.n_in);
    const Int8Matrix matrix = packed(w, s.n_out, s.n_in);
    std::vector<float> y(static_cast<size_t>(s.m) * s.n_out), row(static_cast<size_t>(s.n_in));
    matmul(x.data(), s.n_in, s.m, matrix, bias.data(), y.data(), s.n_out);
    for (int o = 0; o < s.n_out; ++o) {
      matrix.row(o, row.data());
      for (int i = 0; i < s.m; ++i) {
        double exact = bias[o], magnitude = std::fabs(bias[o]);
        for (int k = 0; k < s.n_in; ++k) {
          const float step = group_max(&x[i * s.n_in], k, s.n_in) / 127.0f;
          const double rounded = step == 0 ? 0 : std::nearbyint(x[i * s.n_in + k] / step) * step;
          exact += rounded * row[k];
          magnitude += std::fabs(rounded * row[k]);
        }
        // A code may fall the other way where its value lies on the border of two.
        EXPECT_NEAR(y[static_cast<size_t>(i) * s.n_out + o], exact, 1e-5 * magnitude + 1e-6)
            << describe("m", s.m, "n_in", s.n_in, "n_out", s.n_out, "row", i, "output", o);
      }
    }
  }
}

TEST(MatmulInt8, HasTheSameBitsForAnyRowsTogetherAndAnyNumberOfThreads) {
  const int before = threads();
  for (const Shape& s : kShapes) {
    Rng rng(5);
    const auto w = random_floats(rng, s.n_out * s.n_in), x = random_floats(rng, s.m * s.n_in);
    const Int8Matrix matrix = packed(w, s.n_out, s.n_in);
    std::vector<float> alone(static_cast<size_t>(s.m) * s.n_out);
    set_threads(1);
    for (int i = 0; i < s.m; ++i) {
      matmul(x.data() + i * s.n_in, s.n_in, 1, matrix, nullptr, alone.data() + i * s.n_out,
             s.n_out);
    }
    for (int n_threads : {1, 2, 5}) {
      set_threads(n_threads);
      std::vector<float> together(alone.size());
      matmul(x.data(), s.n_in, s.m, matrix, nullptr, together.data(), s.n_out);
      EXPECT_EQ(together, alone) << describe("m", s.m, "threads", n_threads);
    }
  }
  set_threads(before);
}

TEST(MatmulInt8, LeavesWhatIsBesideTheColumnsAlone) {
  Rng rng(6);
  const int m = 5, n_in = 40, n_out = 37, ldx = 44, ldy = 50;
  const Int8Matrix matrix = packed(random_floats(rng, n_out * n_in), n_out, n_in);
  const auto x = random_floats(rng, m * ldx);
  std::vector<float> y(m * ldy, 7.0f);
  matmul(x.data(), ldx, m, matrix, nullptr, y.data(), ldy);
  for (int i = 0; i < m; ++i) {
    for (int o = n_out; o < ldy; ++o) EXPECT_EQ(y[i * ldy + o], 7.0f);
  }
}

}  // namespace
}  // namespace kv::test
