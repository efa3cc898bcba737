// The scalar definitions themselves, against double precision.
#include <Eigen/Dense>
#include <limits>

#include "kernels/half.h"
#include "tests/kernels/harness.h"

namespace kv::test {
namespace {

const Kernels& ref() {
  return *kernels_for(Isa::kScalar);
}

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

TEST(Ref, GemmIsTheProduct) {
  const int m = 5, k = 83;
  const Matrix a = Matrix::Random(m, k), b = Matrix::Random(k, kPanel);
  Matrix c = Matrix::Random(m, kPanel);
  const Eigen::MatrixXd product = a.cast<double>() * b.cast<double>();
  const Eigen::MatrixXd sum = c.cast<double>() + product;
  ref().gemm_f32(a.data(), k, m, k, b.data(), kPanel, c.data(), kPanel, true);
  EXPECT_LT((c.cast<double>() - sum).cwiseAbs().maxCoeff(), 1e-5);
  ref().gemm_f32(a.data(), k, m, k, b.data(), kPanel, c.data(), kPanel, false);
  EXPECT_LT((c.cast<double>() - product).cwiseAbs().maxCoeff(), 1e-5);
}

TEST(Ref, GemmWidensHalvesExactly) {
  Rng rng(1);
  const int m = 3, k = 41;
  const auto a = random_floats(rng, m * k);
  for (bool bf16 : {false, true}) {
    const auto b = bf16 ? random_bf16(rng, k * kPanel) : random_f16(rng, k * kPanel);
    std::vector<float> wide(b.size());
    for (size_t i = 0; i < b.size(); ++i) {
      wide[i] = bf16 ? bf16_to_float(b[i]) : f16_to_float(b[i]);
    }
    std::vector<float> expected(m * kPanel), got(m * kPanel);
    ref().gemm_f32(a.data(), k, m, k, wide.data(), kPanel, expected.data(), kPanel, false);
    const auto gemm = bf16 ? ref().gemm_bf16 : ref().gemm_f16;
    gemm(a.data(), k, m, k, b.data(), kPanel, got.data(), kPanel, false);
    EXPECT_EQ(got, expected);
  }
}

// Distance from the true value in units of the last place of the float result.
double ulp_error(float got, double exact) {
  int exponent;
  std::frexp(exact, &exponent);
  return std::fabs(got - exact) / std::ldexp(1.0, exponent - 24);
}

TEST(Ref, ExpIsWithinOneUlp) {
  // Every 37th float of the range, both signs. Over all of them the maximum is 0.894, at
  // 0x1.4cec68p+2.
  std::vector<float> x;
  for (uint32_t bits = 0; bits < 0x42b18000u; bits += 37) x.push_back(std::bit_cast<float>(bits));
  double worst = 0;
  for (float sign : {1.0f, -1.0f}) {
    for (float v : x) {
      float y = sign * v;
      const double exact = std::exp(static_cast<double>(y));
      ref().exp_inplace(&y, 1);
      if (exact < std::numeric_limits<float>::min() ||
          exact > static_cast<double>(std::numeric_limits<float>::max())) {
        continue;
      }
      worst = std::max(worst, ulp_error(y, exact));
    }
  }
  EXPECT_LE(worst, 1.0);
  RecordProperty("worst_ulp_percent", static_cast<int>(worst * 100));
}

TEST(Ref, ExpAtTheEdges) {
  const float inf = std::numeric_limits<float>::infinity();
  const auto exp = [](float x) {
    ref().exp_inplace(&x, 1);
    return x;
  };
  EXPECT_EQ(exp(0.0f), 1.0f);
  EXPECT_EQ(exp(-0.0f), 1.0f);
  EXPECT_EQ(exp(inf), inf);
  EXPECT_EQ(exp(89.0f), inf);
  EXPECT_EQ(std::bit_cast<uint32_t>(exp(-inf)), 0u);
  EXPECT_EQ(std::bit_cast<uint32_t>(exp(-88.0f)), 0u);
  EXPECT_EQ(exp(-1e30f), 0.0f);
  EXPECT_EQ(exp(1e30f), inf);
  EXPECT_TRUE(std::isnan(exp(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_NEAR(exp(88.7228f) / std::exp(88.7228), 1.0, 1e-5);
  EXPECT_NEAR(exp(-87.336f) / std::exp(-87.336), 1.0, 1e-5);
}

TEST(Ref, RmsNorm) {
  Rng rng(2);
  for (int n : {1, 16, 577}) {
    const auto x = random_floats(rng, n), weight = random_floats(rng, n);
    double sum = 0;
    for (float v : x) sum += static_cast<double>(v) * v;
    const double r = 1 / std::sqrt(sum / n + 1e-6);
    std::vector<float> out(x.size());
    ref().rms_norm(x.data(), weight.data(), n, 1e-6f, out.data());
    for (int i = 0; i < n; ++i) {
      const double expected = static_cast<double>(x[i]) * r * weight[i];
      EXPECT_NEAR(out[i], expected, 1e-6 * std::fabs(expected)) << "n=" << n << " i=" << i;
    }
  }
}

TEST(Ref, SiluMul) {
  Rng rng(3);
  const auto gate = random_floats(rng, 500, -8, 5), up = random_floats(rng, 500);
  std::vector<float> out(500);
  ref().silu_mul(gate.data(), up.data(), 500, out.data());
  for (int i = 0; i < 500; ++i) {
    const double g = gate[i];
    const double expected = g / (1 + std::exp(-g)) * up[i];
    EXPECT_NEAR(out[i], expected, 1e-6 * std::fabs(expected)) << i;
  }
}

TEST(Ref, LayerNorm) {
  Rng rng(6);
  for (int n : {1, 7, 64, 301}) {
    const auto x = random_floats(rng, n), weight = random_floats(rng, n),
               bias = random_floats(rng, n);
    double mean = 0, variance = 0;
    for (float v : x) mean += v / static_cast<double>(n);
    for (float v : x) variance += (v - mean) * (v - mean) / n;
    std::vector<float> out(x.size());
    ref().layer_norm(x.data(), weight.data(), bias.data(), n, 1e-5f, out.data());
    for (int i = 0; i < n; ++i) {
      const double expected = (x[i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i];
      EXPECT_NEAR(out[i], expected, 2e-6 * std::max(1.0, std::fabs(expected))) << n << " " << i;
    }
  }
}

// Largest difference from a function in double, in ulps of the result or, below `floor`, of that.
double worst_ulps(void (*Kernels::*kernel)(float*, int64_t), double (*exact)(double),
                  double floor) {
  std::vector<float> x;
  for (float v = -12; v <= 12; v += 0.00037f) x.push_back(v);
  for (float v : {0.0f, -0.0f, 1e-20f, -1e-8f, 0.625f, 1e30f}) x.push_back(v);
  std::vector<float> y = x;
  (ref().*kernel)(y.data(), static_cast<int64_t>(y.size()));
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double expected = exact(x[i]), scale = std::max(std::fabs(expected), floor);
    worst = std::max(worst, std::fabs(y[i] - expected) / (scale * std::ldexp(1.0, -23)));
  }
  return worst;
}

TEST(Ref, TanhAndGelu) {
  const auto tanh_gelu = [](double x) {
    return x / 2 * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
  };
  const auto erf_gelu = [](double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2.0))); };
  EXPECT_LT(worst_ulps(
                &Kernels::tanh_inplace, [](double x) { return std::tanh(x); }, 0),
            2);
  // Where x is far below 0, 1 + tanh cancels, as in every float32 program.
  EXPECT_LT(worst_ulps(&Kernels::gelu_tanh, tanh_gelu, 1), 3);
  EXPECT_LT(worst_ulps(&Kernels::gelu_erf, erf_gelu, 1), 3);
}

// Softmax of 300 scores taken in blocks and merged, applied to one column of values.
TEST(Ref, MergedSoftmaxBlocksAreTheSoftmax) {
  Rng rng(4);
  const int n = 300;
  const auto scores = random_floats(rng, n, 0, 5), values = random_floats(rng, n);
  double largest = scores[0], denominator = 0, expected = 0;
  for (float s : scores) largest = std::max(largest, static_cast<double>(s));
  for (int i = 0; i < n; ++i) {
    const double e = std::exp(scores[i] - largest);
    denominator += e;
    expected += e * values[i];
  }
  float total = 0, max = -std::numeric_limits<float>::infinity(), sum = 0;
  for (int first = 0; first < n; first += kAttnBlock) {
    const int rows = std::min(kAttnBlock, n - first);
    float block[kAttnBlock] = {};
    std::copy_n(scores.data() + first, rows, block);
    float block_max, block_sum, block_total = 0;
    ref().softmax_block(block, rows, &block_max, &block_sum);
    for (int i = 0; i < rows; ++i) block_total += block[i] * values[first + i];
    ref().merge_blocks(&total, &max, &sum, &block_total, block_max, block_sum, 1);
  }
  EXPECT_NEAR(total / sum, expected / denominator, 1e-6);
  EXPECT_EQ(max, static_cast<float>(largest));
}

TEST(Ref, RotateRowTurnsEachPairAndLeavesTheRest) {
  const int rotary_dim = 6, head_dim = 9;
  std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  std::vector<float> cos(3), sin(3);
  for (int i = 0; i < 3; ++i) {
    cos[i] = std::cos(0.3f * static_cast<float>(i + 1));
    sin[i] = std::sin(0.3f * static_cast<float>(i + 1));
  }
  const std::vector<float> before = x;
  ref().rotate_row(x.data(), cos.data(), sin.data(), rotary_dim);
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(x[i], before[i] * cos[i] - before[i + 3] * sin[i], 1e-6);
    EXPECT_NEAR(x[i + 3], before[i + 3] * cos[i] + before[i] * sin[i], 1e-6);
  }
  for (int i = rotary_dim; i < head_dim; ++i) EXPECT_EQ(x[i], before[i]);
}

TEST(Ref, LoadKeysRotatesEveryRowAsRotateRowDoes) {
  Rng rng(5);
  const int head_dim = 10, rotary_dim = 8;
  const auto tile = random_floats(rng, head_dim * kTile);
  const auto cos = random_floats(rng, rotary_dim / 2 * kTile);
  const auto sin = random_floats(rng, rotary_dim / 2 * kTile);
  std::vector<float> out(tile.size());
  ref().load_keys_f32(tile.data(), head_dim, cos.data(), sin.data(), rotary_dim, out.data());
  for (int r = 0; r < kTile; ++r) {
    float row[head_dim], c[rotary_dim / 2], s[rotary_dim / 2];
    for (int d = 0; d < head_dim; ++d) row[d] = tile[d * kTile + r];
    for (int i = 0; i < rotary_dim / 2; ++i) {
      c[i] = cos[i * kTile + r];
      s[i] = sin[i * kTile + r];
    }
    ref().rotate_row(row, c, s, rotary_dim);
    for (int d = 0; d < head_dim; ++d) EXPECT_EQ(out[d * kTile + r], row[d]) << d << " " << r;
  }
}

// Codes written by hand: channel or row i holds the code i mod 2^bits.
TEST(Ref, LoadsCodesInLittleEndianOrder) {
  const uint16_t half = 0x3800, one = 0x3c00;  // 0.5 and 1
  for (int bits : {8, 4, 2}) {
    std::vector<uint8_t> codes(static_cast<size_t>(kTile * bits / 8), 0);
    for (int i = 0; i < kTile; ++i) {
      codes[i * bits / 8] |= static_cast<uint8_t>(i % (1 << bits) << (i * bits % 8));
    }
    const std::vector<uint16_t> scale(kTile, half), minimum(kTile, one);
    std::vector<float> keys(kTile), values(kTile);
    ref().load_keys_int(bits, codes.data(), scale.data(), minimum.data(), 1, 1, 1, nullptr, nullptr,
                        0, keys.data());
    ref().load_values_int(bits, codes.data(), scale.data(), minimum.data(), kTile, 1, kTile,
                          values.data());
    for (int i = 0; i < kTile; ++i) {
      const float expected = 0.5f * static_cast<float>(i % (1 << bits)) + 1.0f;
      EXPECT_EQ(keys[i], expected) << "bits=" << bits << " row " << i;
      EXPECT_EQ(values[i], expected) << "bits=" << bits << " channel " << i;
    }
  }
}

TEST(Ref, ScalesOfChannelsServeGroupsOfRows) {
  const int group = 8, head_dim = 2;
  const std::vector<uint8_t> codes(head_dim * kTile, 1);
  std::vector<uint16_t> scale, minimum(head_dim * kTile / group, 0);
  for (int i = 0; i < head_dim * kTile / group; ++i) scale.push_back(float_to_f16(1.0f + i));
  std::vector<float> out(head_dim * kTile);
  ref().load_keys_channels(8, codes.data(), scale.data(), minimum.data(), group, head_dim,
                           out.data());
  for (int d = 0; d < head_dim; ++d) {
    for (int r = 0; r < kTile; ++r) EXPECT_EQ(out[d * kTile + r], 1.0f + d * 4 + r / 8);
  }
}

TEST(Ref, DecodeRowsReadsCodesFromTheLowestBits) {
  const std::vector<uint8_t> codes = {0b10101100, 0b00000111};
  const float one = 1, zero = 0;
  std::vector<float> out(5);
  const auto decode = [&](int bits, int n) {
    ref().decode_rows({.bits = bits, .codes = codes.data(), .scales = &one, .offsets = &zero}, 1, n,
                      out.data(), n);
  };
  decode(3, 5);
  EXPECT_EQ(out, (std::vector<float>{4, 5, 6, 3, 0}));  // the third code ends in the second byte
  decode(1, 5);
  EXPECT_EQ(out, (std::vector<float>{0, 0, 1, 1, 0}));
  decode(8, 2);
  EXPECT_EQ(out[0], 0b10101100);
}

TEST(Ref, DecodeRowsRoundsAsItsFormulaSays) {
  const std::vector<uint8_t> codes = {1, 3, 7, 200, 5, 255};
  const std::vector<float> scales = {1.0f / 3, 0.7f}, offsets = {0.1f, 2.3f};
  std::vector<float> out(6);
  const auto decode = [&](CodeValue value) {
    ref().decode_rows({8, value, codes.data(), 3, scales.data(), offsets.data(), 1, 0}, 2, 3,
                      out.data(), 3);
  };
  const auto expect = [&](auto&& value_of) {
    for (int i = 0; i < 6; ++i)
      EXPECT_EQ(out[i], value_of(static_cast<float>(codes[i]), scales[i / 3], offsets[i / 3])) << i;
  };
  decode(CodeValue::kScaleThenAdd);
  expect([](float c, float s, float o) {
    const volatile float product = c * s;
    return product + o;
  });
  decode(CodeValue::kSubtractThenScale);
  expect([](float c, float s, float o) {
    const volatile float difference = c - o;
    return difference * s;
  });
  decode(CodeValue::kFused);
  expect([](float c, float s, float o) { return std::fma(c, s, o); });
}

TEST(Ref, DecodeRowsTakesAScaleForEveryColumn) {
  const std::vector<uint8_t> codes = {1, 2, 3, 4};
  const std::vector<float> scales = {1, 10}, offsets = {0.5f, 1};
  std::vector<float> out(6, -1);
  ref().decode_rows(
      {8, CodeValue::kScaleThenAdd, codes.data(), 2, scales.data(), offsets.data(), 0, 1}, 2, 2,
      out.data(), 3);
  EXPECT_EQ(out, (std::vector<float>{1.5f, 21, -1, 3.5f, 41, -1}));
}

TEST(Ref, WeighRowsIsDecodeRowsAndAProduct) {
  constexpr int kRows = 7, kWeighed = 2;
  std::vector<uint8_t> codes(kRows * kPanel);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i * 37);
  std::vector<float> scales(kRows), offsets(kRows), weights(kWeighed * kRows);
  for (int r = 0; r < kRows; ++r) scales[r] = 0.3f + 0.1f * static_cast<float>(r);
  for (int r = 0; r < kRows; ++r) offsets[r] = 1.7f - static_cast<float>(r);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = 1.0f / static_cast<float>(i + 3);
  const CodeRows rows{
      8, CodeValue::kSubtractThenScale, codes.data(), kPanel, scales.data(), offsets.data(), 1, 0};
  std::vector<float> values(kRows * kPanel), expected(kWeighed * kPanel, 2), out = expected;
  ref().decode_rows(rows, kRows, kPanel, values.data(), kPanel);
  ref().gemm_f32(weights.data(), kRows, kWeighed, kRows, values.data(), kPanel, expected.data(),
                 kPanel, true);
  ref().weigh_rows(rows, kRows, kPanel, weights.data(), kRows, kWeighed, out.data(), kPanel, true);
  EXPECT_EQ(out, expected);
  ref().gemm_f32(weights.data(), kRows, kWeighed, kRows, values.data(), kPanel, expected.data(),
                 kPanel, false);
  ref().weigh_rows(rows, kRows, kPanel, weights.data(), kRows, kWeighed, out.data(), kPanel, false);
  EXPECT_EQ(out, expected);
}

TEST(Ref, WeighRowsTakesAScaleForEveryColumn) {
  std::vector<uint8_t> codes(2 * kPanel, 3);
  std::vector<float> scales(2 * kPanel), offsets(2 * kPanel, 1), out(kPanel, 9);
  for (int i = 0; i < 2 * kPanel; ++i) scales[i] = static_cast<float>(i);
  const std::vector<float> weights = {10, 100};
  const CodeRows rows{
      8, CodeValue::kSubtractThenScale, codes.data(), kPanel, scales.data(), offsets.data(), kPanel,
      1};
  ref().weigh_rows(rows, 2, kPanel, weights.data(), 2, 1, out.data(), kPanel, false);
  for (int d = 0; d < kPanel; ++d) {
    const auto c = static_cast<float>(d);
    EXPECT_EQ(out[d], 10 * 2 * c + 100 * 2 * (kPanel + c));
  }
}

TEST(Ref, DecodeTransposedIsDecodeRowsTurnedOver) {
  constexpr int kRows = 3, kColumns = 2;
  const std::vector<uint8_t> codes = {1, 2, 3, 4, 5, 6};
  const std::vector<float> scales = {1, 10, 100}, offsets = {0, 0, 0.5f};
  const CodeRows rows{
      8, CodeValue::kScaleThenAdd, codes.data(), kColumns, scales.data(), offsets.data(), 1, 0};
  std::vector<float> out(kColumns * kTile);
  ref().decode_transposed(rows, kRows, kColumns, out.data());
  const std::vector<float> first = {1, 30, 500.5f}, second = {2, 40, 600.5f};
  for (int r = 0; r < kTile; ++r) {  // the last row again and again
    EXPECT_EQ(out[r], first[std::min(r, kRows - 1)]);
    EXPECT_EQ(out[kTile + r], second[std::min(r, kRows - 1)]);
  }
}

// Element (v, w) of the orthonormal Walsh-Hadamard matrix of `block` rows.
float hadamard_element(int v, int w, int block) {
  const float size = 1.0f / std::sqrt(static_cast<float>(block));
  return __builtin_parity(static_cast<unsigned>(v & w)) != 0 ? -size : size;
}

TEST(Ref, HadamardIsTheProductWithTheOrthonormalMatrix) {
  constexpr int kBlock = 8;
  std::vector<float> x(2 * kBlock), expected(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * i % 11);
  for (int v = 0; v < 2 * kBlock; ++v) {
    for (int w = 0; w < kBlock; ++w)
      expected[v] += hadamard_element(v % kBlock, w, kBlock) * x[v / kBlock * kBlock + w];
  }
  ref().hadamard(x.data(), 2 * kBlock, kBlock);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], expected[i], 1e-5);
  ref().hadamard(x.data(), 2 * kBlock, kBlock);  // undoes itself
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], static_cast<float>(i * i % 11), 1e-5);
}

// Groups of 4 in blocks of 16: both the strides of codes and those of floats.
TEST(Ref, KeysOfMixedChannelsAreTheTransformOfThePlainOnes) {
  constexpr int kHeadDim = 32, kBlock = 16, kGroup = 4;
  std::vector<uint8_t> codes(kHeadDim * kTile);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i * i % 251);
  std::vector<uint16_t> scale, minimum;
  for (int i = 0; i < kHeadDim / kGroup * kTile; ++i) {
    scale.push_back(float_to_f16(0.01f * static_cast<float>(i % 7 + 1)));
    minimum.push_back(float_to_f16(static_cast<float>(i % 5) - 2.5f));
  }
  std::vector<float> plain(kHeadDim * kTile), mixed(plain.size());
  const auto load = [&](int block, std::vector<float>& out) {
    ref().load_keys_int(8, codes.data(), scale.data(), minimum.data(), kGroup, kHeadDim, block,
                        nullptr, nullptr, 0, out.data());
  };
  load(1, plain);
  load(kBlock, mixed);
  for (int d = 0; d < kHeadDim; ++d) {
    for (int r = 0; r < kTile; ++r) {
      double expected = 0;
      for (int w = 0; w < kBlock; ++w)
        expected +=
            hadamard_element(d % kBlock, w, kBlock) * plain[(d / kBlock * kBlock + w) * kTile + r];
      EXPECT_NEAR(mixed[d * kTile + r], expected, 2e-5) << d << " " << r;
    }
  }
}

TEST(Ref, TransposeRowsPutsRowsIntoColumns) {
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  const float* rows[kTile];
  for (int r = 0; r < kTile; ++r) rows[r] = x.data() + (r == 0 ? 3 : 0);
  std::vector<float> out(3 * kTile);
  ref().transpose_rows(rows, 3, out.data());
  for (int c = 0; c < 3; ++c) {
    for (int r = 0; r < kTile; ++r) EXPECT_EQ(out[c * kTile + r], x[(r == 0 ? 3 : 0) + c]);
  }
}

TEST(Ref, LoadValuesPadsWithZeros) {
  const std::vector<float> tile = {1, 2, 3, 4, 5, 6};
  std::vector<float> out(2 * kPanel, -1);
  ref().load_values_f32(tile.data(), 2, 3, out.data());
  for (int r = 0; r < 2; ++r) {
    for (int d = 0; d < kPanel; ++d) {
      EXPECT_EQ(out[r * kPanel + d], d < 3 ? tile[r * 3 + d] : 0.0f);
    }
  }
}

TEST(Ref, LogSumExp) {
  Rng rng(6);
  const auto x = random_floats(rng, 5000, 0, 6);
  double largest = x[0], sum = 0;
  for (float v : x) largest = std::max(largest, static_cast<double>(v));
  for (float v : x) sum += std::exp(v - largest);
  EXPECT_NEAR(ref().log_sum_exp(x.data(), 5000), largest + std::log(sum), 1e-6);
  const float one = -3.25f;
  EXPECT_EQ(ref().log_sum_exp(&one, 1), -3.25);
}

TEST(Ref, ArgmaxIsTheFirstOfEquals) {
  std::vector<float> x(100, 1.0f);
  x[40] = x[71] = 2.0f;
  EXPECT_EQ(ref().argmax(x.data(), 100), 40);
  x.assign(100, -0.0f);
  x[50] = 0.0f;
  EXPECT_EQ(ref().argmax(x.data(), 100), 0);
}

}  // namespace
}  // namespace kv::test
