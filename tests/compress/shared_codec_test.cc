// Codecs whose rows are not alone: KIVI's groups of tokens and kv-canary's blocks; and the transform
// of int*(hadamard=true).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "compress/registry.h"
#include "kernels/aligned.h"
#include "kernels/half.h"
#include "kernels/kernels.h"

namespace kv {
namespace {

constexpr int kDim = 32;

CodecPtr codec_of(const std::string& spec) {
  return parse_compressors(spec, "test").at(0).plan.codec;
}

std::vector<float> random_rows(int n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.5f, 2);
  std::vector<float> rows(static_cast<size_t>(n) * kDim);
  for (float& x : rows) x = normal(generator);
  return rows;
}

// The same values by the published formula, in double. x: one group.
std::vector<double> by_formula(const std::vector<double>& x, int bits, bool half) {
  double lo = *std::min_element(x.begin(), x.end()), hi = *std::max_element(x.begin(), x.end());
  const double top = (1 << bits) - 1;
  double scale = (hi - lo) / top;
  if (half) {
    scale = f16_to_float(float_to_f16(static_cast<float>(scale)));
    lo = f16_to_float(float_to_f16(static_cast<float>(lo)));
  }
  std::vector<double> out;
  for (const double v : x)
    out.push_back(std::nearbyint(std::clamp((v - lo) / scale, 0.0, top)) * scale + lo);
  return out;
}

struct KiviCase {
  int bits, group;
  bool half;
};

class Kivi : public testing::TestWithParam<KiviCase> {};

TEST_P(Kivi, KeysAreGroupedByTokensAndValuesByChannels) {
  const auto [bits, group, half] = GetParam();
  const CodecPtr codec =
      codec_of("kivi" + std::to_string(bits) + "(group=" + std::to_string(group) +
               ",residual=32,scales=" + (half ? "f16)" : "f32)"));
  const auto rows = random_rows(kTile, 1);
  AlignedBuffer keys(codec->key_tile_bytes(kDim)), values(codec->value_tile_bytes(kDim));
  // In two pieces: groups never reach over a cut at a multiple of the group.
  codec->encode_keys(rows.data(), kDim, 0, group, kDim, keys.data());
  if (group < kTile)
    codec->encode_keys(rows.data() + group * kDim, kDim, group, kTile - group, kDim, keys.data());
  codec->encode_values(rows.data(), kDim, 0, kTile, kDim, values.data());
  std::vector<float> scratch(kDim * kTile);
  const float* k = codec->load_keys(keys.data(), kTile, kDim, {}, scratch.data());
  for (int d = 0; d < kDim; ++d) {
    for (int g = 0; g < kTile; g += group) {
      std::vector<double> x;
      for (int r = g; r < g + group; ++r) x.push_back(rows[r * kDim + d]);
      const auto expected = by_formula(x, bits, half);
      for (int r = 0; r < group; ++r) EXPECT_NEAR(k[d * kTile + g + r], expected[r], 2e-6) << d;
    }
  }
  const float* v = codec->load_values(values.data(), kTile, kDim, scratch.data());
  for (int r = 0; r < kTile; ++r) {
    for (int g = 0; g < kDim; g += group) {
      const auto expected = by_formula(
          {rows.begin() + r * kDim + g, rows.begin() + r * kDim + g + group}, bits, half);
      for (int d = 0; d < group; ++d) EXPECT_NEAR(v[r * kDim + g + d], expected[d], 2e-6) << r;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Kivi,
                         testing::Values(KiviCase{4, 8, false}, KiviCase{4, 32, true},
                                         KiviCase{2, 16, true}, KiviCase{2, 4, false},
                                         KiviCase{2, 32, false}));

TEST(Kivi, CountsWhatIsCoded) {
  const CodecPtr codec = codec_of("kivi2(group=32,residual=128)");
  EXPECT_EQ(codec->coded_rows(100).keys, 0);
  EXPECT_EQ(codec->coded_rows(100).values, 0);
  EXPECT_EQ(codec->coded_rows(256).keys, 256);
  EXPECT_EQ(codec->coded_rows(256).values, 128);
  EXPECT_EQ(codec->coded_rows(300).keys, 256);
  EXPECT_EQ(codec->coded_rows(300).values, 172);
  // 2 bits, and 16 + 16 of scale and minimum for 32 values.
  EXPECT_DOUBLE_EQ(codec->bits_per_value(64), 3);
  EXPECT_EQ(codec->key_tile_bytes(64), 64u * 32 * 3 / 8);
}

TEST(Kivi, AGroupOfEqualValuesIsThatValue) {
  const CodecPtr codec = codec_of("kivi2(group=32,residual=32)");
  const std::vector<float> rows(kTile * kDim, 1.5f);
  AlignedBuffer keys(codec->key_tile_bytes(kDim));
  codec->encode_keys(rows.data(), kDim, 0, kTile, kDim, keys.data());
  std::vector<float> scratch(kDim * kTile);
  const float* k = codec->load_keys(keys.data(), kTile, kDim, {}, scratch.data());
  for (int i = 0; i < kDim * kTile; ++i) ASSERT_EQ(k[i], 1.5f);
}

// The example of kv-canary's rule: 0.75 / 0.3 rounds to 3, since 0.3 is 0.29999998 in float32.
TEST(Absmax, OneScaleForABlock) {
  const std::vector<float> x = {-1, .5f, .26f, .1f, .75f, -.3f, .04f, 2.1f};
  const std::vector<float> four = {-.9f, .6f, .3f, 0, .9f, -.3f, 0, 2.1f};
  const std::vector<float> two = {0, 0, 0, 0, 0, 0, 0, 2.1f};
  for (const auto& [name, expected] :
       {std::pair{std::string("absmax4"), four}, std::pair{std::string("absmax2"), two}}) {
    const CodecPtr codec = codec_of(name);
    AlignedBuffer keys(codec->key_tile_bytes(4)), values(codec->value_tile_bytes(4));
    codec->encode_block_keys(x.data(), 4, 5, 2, 4, 2.1f, keys.data());
    codec->encode_block_values(x.data(), 4, 5, 2, 4, 2.1f, values.data());
    std::vector<float> scratch(padded(4) * kTile);
    const float* k = codec->load_keys(keys.data(), kTile, 4, {}, scratch.data());
    for (int i = 0; i < 8; ++i)
      EXPECT_FLOAT_EQ(k[i % 4 * kTile + 5 + i / 4], expected[i]) << name << " " << i;
    const float* v = codec->load_values(values.data(), 7, 4, scratch.data());
    for (int i = 0; i < 8; ++i)
      EXPECT_FLOAT_EQ(v[(5 + i / 4) * padded(4) + i % 4], expected[i]) << name << " " << i;
  }
}

TEST(CodesThatMove, AreTheSameCodes) {
  for (const std::string spec :
       {"absmax8", "absmax2", "flexgen4(group=8)", "flexgen4(group=16,scales=f32)", "f32", "f16",
        "bf16", "int8", "int2(group=8)", "int4(hadamard=true)"}) {
    const CodecPtr codec = codec_of(spec);
    const auto rows = random_rows(kTile, 2);
    AlignedBuffer keys(codec->key_tile_bytes(kDim)), values(codec->value_tile_bytes(kDim)),
        other_keys(codec->key_tile_bytes(kDim)), other_values(codec->value_tile_bytes(kDim));
    codec->encode_keys(rows.data(), kDim, 0, kTile, kDim, keys.data());
    codec->encode_values(rows.data(), kDim, 0, kTile, kDim, values.data());
    codec->copy_key(keys.data(), 9, kDim, other_keys.data(), 3);
    codec->copy_value(values.data(), 9, kDim, other_values.data(), 3);
    std::vector<float> a(kDim * kTile), b(kDim * kTile);
    const float *k = codec->load_keys(keys.data(), kTile, kDim, {}, a.data()),
                *moved = codec->load_keys(other_keys.data(), kTile, kDim, {}, b.data());
    for (int d = 0; d < kDim; ++d) EXPECT_EQ(moved[d * kTile + 3], k[d * kTile + 9]) << spec;
    const float *v = codec->load_values(values.data(), kTile, kDim, a.data()),
                *moved_v = codec->load_values(other_values.data(), kTile, kDim, b.data());
    for (int d = 0; d < kDim; ++d) EXPECT_EQ(moved_v[3 * kDim + d], v[9 * kDim + d]) << spec;
  }
}

// One channel far above the others costs all of a group its resolution, unless it is spread first.
TEST(Hadamard, SpreadsOutliers) {
  auto rows = random_rows(kTile, 3);
  for (int r = 0; r < kTile; ++r) rows[r * kDim + 5] += 200;
  const auto worst = [&](const std::string& spec) {
    const CodecPtr codec = codec_of(spec);
    AlignedBuffer values(codec->value_tile_bytes(kDim));
    codec->encode_values(rows.data(), kDim, 0, kTile, kDim, values.data());
    std::vector<float> scratch(kDim * kTile);
    const float* v = codec->load_values(values.data(), kTile, kDim, scratch.data());
    double sum = 0;
    for (int i = 0; i < kTile * kDim; ++i) {
      if (i % kDim != 5) sum += std::abs(v[i] - rows[i]);
    }
    return sum / (kTile * (kDim - 1));
  };
  EXPECT_LT(worst("int8(hadamard=true)"), 0.5);
  EXPECT_LT(worst("int4(hadamard=true)"), 0.75 * worst("int4"));
}

}  // namespace
}  // namespace kv
