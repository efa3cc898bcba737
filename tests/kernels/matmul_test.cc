// PackedMatrix and matmul: right against double precision, and the same bits whatever the split.
#include "kernels/matmul.h"

#include <Eigen/Dense>

#include "kernels/half.h"
#include "kernels/parallel.h"
#include "tests/kernels/harness.h"

namespace kv::test {
namespace {

// Source rows as they would lie in a model file, and their exact float values.
struct Weights {
  std::vector<std::byte> raw;
  std::vector<float> wide;
};

Weights random_weights(Rng& rng, int n_out, int n_in, DType dtype) {
  Weights w;
  const int64_t n = static_cast<int64_t>(n_out) * n_in;
  w.wide = random_floats(rng, n);
  w.raw.resize(static_cast<size_t>(n) * dtype_bytes(dtype));
  for (int64_t i = 0; i < n; ++i) {
    if (dtype == DType::kF32) {
      std::memcpy(&w.raw[i * 4], &w.wide[i], 4);
      continue;
    }
    const bool f16 = dtype == DType::kF16;
    const uint16_t bits = f16 ? float_to_f16(w.wide[i]) : float_to_bf16(w.wide[i]);
    w.wide[i] = f16 ? f16_to_float(bits) : bf16_to_float(bits);
    std::memcpy(&w.raw[i * 2], &bits, 2);
  }
  return w;
}

PackedMatrix packed(const Weights& w, int n_out, int n_in, DType dtype) {
  PackedMatrix matrix(n_out, n_in, dtype);
  matrix.pack_rows(w.raw.data(), 0, n_out);
  return matrix;
}

constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

// The number of threads for one scope.
class Threads {
 public:
  explicit Threads(int n) : before_(threads()) { set_threads(n); }
  ~Threads() { set_threads(before_); }

 private:
  int before_;
};

struct Shape {
  int m, n_in, n_out;
};
const Shape kShapes[] = {{0, 8, 8},     {1, 1, 1},     {1, 0, 5},      {1, 67, 33},
                         {2, 576, 96},  {3, 31, 1},    {7, 128, 64},   {15, 100, 70},
                         {16, 769, 95}, {17, 33, 129}, {33, 1537, 40}, {113, 50, 200},
                         {230, 20, 31}};

std::string describe_shape(const Shape& s, DType dtype) {
  return describe("m", s.m, "n_in", s.n_in, "n_out", s.n_out) + dtype_name(dtype);
}

TEST(Matmul, IsTheProductInDoublePrecision) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  for (const Shape& s : kShapes) {
    for (DType dtype : kDTypes) {
      Rng rng(static_cast<unsigned>(s.n_in));
      const Weights w = random_weights(rng, s.n_out, s.n_in, dtype);
      const PackedMatrix matrix = packed(w, s.n_out, s.n_in, dtype);
      const Matrix x = Matrix::Random(s.m, s.n_in);
      const auto bias = random_floats(rng, s.n_out);
      Matrix y(s.m, s.n_out);
      matmul(x.data(), s.n_in, s.m, matrix, bias.data(), y.data(), s.n_out);
      const Eigen::MatrixXd wide =
          Eigen::Map<const Matrix>(w.wide.data(), s.n_out, s.n_in).cast<double>();
      const Eigen::MatrixXd exact = x.cast<double>() * wide.transpose();
      const Eigen::MatrixXd size = x.cast<double>().cwiseAbs() * wide.transpose().cwiseAbs();
      for (int i = 0; i < s.m; ++i) {
        for (int o = 0; o < s.n_out; ++o) {
          // The error of a chain of n_in roundings, and of the bias.
          const double bound =
              (size(i, o) * s.n_in + 2 * std::fabs(bias[o]) + size(i, o)) * 0x1p-24;
          ASSERT_NEAR(y(i, o), exact(i, o) + bias[o], bound + 1e-30)
              << describe_shape(s, dtype) << " row " << i << " output " << o;
        }
      }
    }
  }
}

TEST(Matmul, WritesOnlyItsColumnsAndReadsNoPadding) {
  for (const Shape& s : kShapes) {
    if (s.m == 0) continue;
    for (DType dtype : kDTypes) {
      Rng rng(static_cast<unsigned>(s.n_in));
      const PackedMatrix matrix =
          packed(random_weights(rng, s.n_out, s.n_in, dtype), s.n_out, s.n_in, dtype);
      const int64_t ldx = s.n_in + 3, ldy = s.n_out + 5;
      const float nan = std::numeric_limits<float>::quiet_NaN();
      std::vector<float> x = random_floats(rng, s.m * ldx);
      for (int i = 0; i < s.m; ++i) std::fill_n(x.begin() + i * ldx + s.n_in, 3, nan);
      Guarded<float> x_in(x, 1), y(std::vector<float>(static_cast<size_t>(s.m * ldy), -7.0f), 1);
      matmul(x_in.data(), ldx, s.m, matrix, nullptr, y.data(), ldy);
      EXPECT_TRUE(y.intact()) << describe_shape(s, dtype);
      for (int i = 0; i < s.m; ++i) {
        for (int o = 0; o < ldy; ++o) {
          const float value = y.data()[i * ldy + o];
          if (o < s.n_out) {
            ASSERT_FALSE(std::isnan(value)) << describe_shape(s, dtype) << i << " " << o;
          } else {
            ASSERT_EQ(value, -7.0f) << describe_shape(s, dtype) << i << " " << o;
          }
        }
      }
    }
  }
}

TEST(Matmul, EachRowHasTheBitsOfItsOwnProduct) {
  for (DType dtype : kDTypes) {
    for (int m : {2, 5, 15, 16, 33, 130}) {
      const int n_in = 1600, n_out = 70;
      Rng rng(7);
      const PackedMatrix matrix =
          packed(random_weights(rng, n_out, n_in, dtype), n_out, n_in, dtype);
      const auto x = random_floats(rng, m * n_in), bias = random_floats(rng, n_out);
      std::vector<float> together(static_cast<size_t>(m * n_out)), alone(n_out);
      matmul(x.data(), n_in, m, matrix, bias.data(), together.data(), n_out);
      for (int i = 0; i < m; ++i) {
        matmul(x.data() + i * n_in, n_in, 1, matrix, bias.data(), alone.data(), n_out);
        ASSERT_EQ(std::memcmp(alone.data(), together.data() + i * n_out, alone.size() * 4), 0)
            << "m=" << m << " row " << i << " " << dtype_name(dtype);
      }
    }
  }
}

TEST(Matmul, HasTheSameBitsForAnyNumberOfThreads) {
  for (const Shape& s : kShapes) {
    for (DType dtype : kDTypes) {
      Rng rng(8);
      const PackedMatrix matrix =
          packed(random_weights(rng, s.n_out, s.n_in, dtype), s.n_out, s.n_in, dtype);
      const auto x = random_floats(rng, static_cast<int64_t>(s.m) * s.n_in);
      std::vector<std::vector<float>> results;
      for (int n : {1, 2, 5}) {
        Threads scope(n);
        results.emplace_back(static_cast<size_t>(s.m * s.n_out));
        matmul(x.data(), s.n_in, s.m, matrix, nullptr, results.back().data(), s.n_out);
      }
      for (const auto& y : results) {
        EXPECT_EQ(std::memcmp(y.data(), results[0].data(), y.size() * 4), 0)
            << describe_shape(s, dtype);
      }
    }
  }
}

TEST(Matmul, HasTheBitsOfOneScalarChain) {
  Rng rng(9);
  const int m = 20, n_in = 1000, n_out = 50;
  const Weights w = random_weights(rng, n_out, n_in, DType::kBF16);
  const PackedMatrix matrix = packed(w, n_out, n_in, DType::kBF16);
  const auto x = random_floats(rng, m * n_in), bias = random_floats(rng, n_out);
  std::vector<float> y(m * n_out);
  matmul(x.data(), n_in, m, matrix, bias.data(), y.data(), n_out);
  for (int i = 0; i < m; ++i) {
    for (int o = 0; o < n_out; ++o) {
      float sum = 0;
      for (int k = 0; k < n_in; ++k) sum = std::fma(x[i * n_in + k], w.wide[o * n_in + k], sum);
      ASSERT_EQ(y[i * n_out + o], sum + bias[o]) << "row " << i << " output " << o;
    }
  }
}

TEST(PackedMatrix, RowsReturnExactly) {
  for (DType dtype : kDTypes) {
    const int n_out = 75, n_in = 1601;  // three blocks
    Rng rng(10);
    const Weights w = random_weights(rng, n_out, n_in, dtype);
    const PackedMatrix matrix = packed(w, n_out, n_in, dtype);
    std::vector<float> row(n_in);
    for (int o = 0; o < n_out; ++o) {
      matrix.row(o, row.data());
      EXPECT_EQ(std::memcmp(row.data(), &w.wide[o * n_in], n_in * 4), 0) << dtype_name(dtype) << o;
    }
  }
}

TEST(PackedMatrix, TakesSeveralSourcesAtAnyAddressAndPlace) {
  for (DType dtype : kDTypes) {
    const int n_out = 100, n_in = 801;  // two blocks
    Rng rng(11);
    const Weights w = random_weights(rng, n_out, n_in, dtype);
    const PackedMatrix whole = packed(w, n_out, n_in, dtype);
    PackedMatrix pieces(n_out, n_in, dtype);
    const int starts[] = {0, 5, 40, 41, 97, 100};
    for (int i = 4; i >= 0; --i) {  // odd addresses, last piece first
      const size_t row_bytes = n_in * dtype_bytes(dtype);
      const size_t n = static_cast<size_t>(starts[i + 1] - starts[i]);
      std::vector<std::byte> odd(n * row_bytes + 1);
      std::memcpy(odd.data() + 1, w.raw.data() + starts[i] * row_bytes, n * row_bytes);
      pieces.pack_rows(odd.data() + 1, starts[i], static_cast<int>(n));
    }
    ASSERT_EQ(pieces.bytes(), whole.bytes());
    EXPECT_EQ(std::memcmp(pieces.panel(0, 0), whole.panel(0, 0), whole.bytes()), 0)
        << dtype_name(dtype);
  }
}

TEST(ParallelFor, CallsEachIndexOnce) {
  for (int n_threads : {1, 2, 4}) {
    Threads scope(n_threads);
    EXPECT_EQ(threads(), n_threads);
    for (int64_t n : {0, 1, 2, 3, 100}) {
      std::vector<int> calls(static_cast<size_t>(n), 0);
      parallel_for(n, [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
      EXPECT_EQ(calls, std::vector<int>(static_cast<size_t>(n), 1)) << "n=" << n;
    }
  }
}

TEST(ParallelFor, MayBeNested) {
  Threads scope(2);
  std::vector<int> calls(64, 0);
  parallel_for(8, [&](int64_t i) {
    parallel_for(8, [&](int64_t j) { ++calls[static_cast<size_t>(i * 8 + j)]; });
  });
  EXPECT_EQ(calls, std::vector<int>(64, 1));
}

}  // namespace
}  // namespace kv::test
