// Every codec of the registry: tile sizes, independence of rows, and what comes back after
// encoding.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "compress/registry.h"
#include "engine/error.h"
#include "kernels/aligned.h"
#include "kernels/half.h"
#include "kernels/kernels.h"

namespace kv {
namespace {

const int kHeadDims[] = {16, 18, 24, 64, 80, 128};

// Those of them that a codec takes.
std::vector<int> head_dims(const KvCodec& codec) {
  std::vector<int> result;
  for (const int head_dim : kHeadDims) {
    try {
      codec.check_head_dim(head_dim);
      result.push_back(head_dim);
    } catch (const Error&) {
    }
  }
  EXPECT_GE(result.size(), 2u);
  return result;
}

std::vector<std::string> codec_specs() {
  std::vector<std::string> specs;
  for (const MethodInfo& info : all_methods()) {
    // Codecs that code rows together are in shared_codec_test.cc and layer_codec_test.cc.
    if (info.kind != "codec") continue;
    const CodecPtr codec = parse_compressors(info.name, "test").at(0).plan.codec;
    if (!codec->keeps_residual() && !codec->codes_blocks()) specs.push_back(info.name);
  }
  for (const char* extra : {"int8(group=64)", "int4(group=24)", "int2(group=7)", "int4(group=1024)",
                            "int4(keys=post_rope)", "int8(hadamard=true)",
                            "int2(group=16,hadamard=true)", "flexgen4(group=16,scales=f32)"}) {
    specs.push_back(extra);
  }
  return specs;
}

CodecPtr codec_of(const std::string& spec) {
  return parse_compressors(spec, "test").at(0).plan.codec;
}

std::vector<float> random_rows(int n, int head_dim, uint32_t seed, float scale = 3) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.3f, scale);
  std::vector<float> rows(static_cast<size_t>(n) * head_dim);
  for (float& x : rows) x = normal(generator);
  return rows;
}

struct Tiles {
  Tiles(const KvCodec& c, int head_dim_)
      : codec(c),
        head_dim(head_dim_),
        keys(c.key_tile_bytes(head_dim)),
        values(c.value_tile_bytes(head_dim)),
        scratch(static_cast<size_t>(padded(head_dim)) * kTile) {}

  void encode(const float* rows, int first, int n) {
    codec.encode_keys(rows, head_dim, first, n, head_dim, keys.data());
    codec.encode_values(rows, head_dim, first, n, head_dim, values.data());
  }
  std::vector<float> key(int row) {
    const float* tile = codec.load_keys(keys.data(), kTile, head_dim, {}, scratch.data());
    std::vector<float> out(head_dim);
    for (int d = 0; d < head_dim; ++d) out[d] = tile[d * kTile + row];
    return out;
  }
  std::vector<float> value(int row, int n = kTile) {
    const float* rows = codec.load_values(values.data(), n, head_dim, scratch.data());
    for (int d = head_dim; d < padded(head_dim); ++d)
      EXPECT_EQ(rows[row * padded(head_dim) + d], 0);
    return {rows + row * padded(head_dim), rows + row * padded(head_dim) + head_dim};
  }
  bool same_bytes(const Tiles& other) const {
    return std::memcmp(keys.data(), other.keys.data(), keys.size()) == 0 &&
           std::memcmp(values.data(), other.values.data(), values.size()) == 0;
  }

  const KvCodec& codec;
  int head_dim;
  AlignedBuffer keys, values;
  std::vector<float> scratch;
};

class EveryCodec : public testing::TestWithParam<std::string> {
 protected:
  EveryCodec() : codec(codec_of(GetParam())) {}
  CodecPtr codec;
};

TEST_P(EveryCodec, RowByRowGivesTheSameBytes) {
  for (const int head_dim : head_dims(*codec)) {
    SCOPED_TRACE(head_dim);
    const auto rows = random_rows(kTile, head_dim, 1);
    Tiles whole(*codec, head_dim), single(*codec, head_dim), pieces(*codec, head_dim);
    whole.encode(rows.data(), 0, kTile);
    for (int r = kTile - 1; r >= 0; --r) single.encode(rows.data() + r * head_dim, r, 1);
    for (int r = 0; r < kTile; r += 5) {
      pieces.encode(rows.data() + r * head_dim, r, std::min(5, kTile - r));
    }
    EXPECT_TRUE(whole.same_bytes(single));
    EXPECT_TRUE(whole.same_bytes(pieces));
  }
}

TEST_P(EveryCodec, OverwritingARowLeavesTheOthersAlone) {
  for (const int head_dim : head_dims(*codec)) {
    SCOPED_TRACE(head_dim);
    const auto rows = random_rows(kTile, head_dim, 2), other = random_rows(1, head_dim, 3, 50);
    Tiles tiles(*codec, head_dim), direct(*codec, head_dim);
    tiles.encode(rows.data(), 0, kTile);
    tiles.encode(other.data(), 13, 1);
    auto expected = rows;
    std::copy(other.begin(), other.end(), expected.begin() + 13 * head_dim);
    direct.encode(expected.data(), 0, kTile);
    EXPECT_TRUE(tiles.same_bytes(direct));
  }
}

TEST_P(EveryCodec, StrideSeparatesRows) {
  for (const int head_dim : head_dims(*codec)) {
    SCOPED_TRACE(head_dim);
    const int stride = head_dim + 11;
    const auto rows = random_rows(kTile, head_dim, 4);
    std::vector<float> spread(static_cast<size_t>(kTile) * stride,
                              std::numeric_limits<float>::quiet_NaN());
    for (int r = 0; r < kTile; ++r) {
      std::copy_n(rows.data() + r * head_dim, head_dim, spread.data() + r * stride);
    }
    Tiles packed(*codec, head_dim), strided(*codec, head_dim);
    packed.encode(rows.data(), 0, kTile);
    codec->encode_keys(spread.data(), stride, 0, kTile, head_dim, strided.keys.data());
    codec->encode_values(spread.data(), stride, 0, kTile, head_dim, strided.values.data());
    EXPECT_TRUE(packed.same_bytes(strided));
  }
}

// Mixed channels: keys are transformed back as codes and values as floats, whose roundings differ: of sums
// of up to 128 values of about 1.
TEST_P(EveryCodec, KeysAndValuesComeBackAlike) {
  const float rounding = codec->mixes_values() ? 1e-5f : 0.0f;
  for (const int head_dim : head_dims(*codec)) {
    SCOPED_TRACE(head_dim);
    const auto rows = random_rows(kTile, head_dim, 5);
    Tiles tiles(*codec, head_dim);
    tiles.encode(rows.data(), 0, kTile);
    for (const int r : {0, 1, 17, 31}) {
      const auto key = tiles.key(r), value = tiles.value(r);
      for (int d = 0; d < head_dim; ++d) EXPECT_NEAR(key[d], value[d], rounding) << d;
      EXPECT_EQ(tiles.value(r, r + 1), tiles.value(r));
    }
  }
}

TEST_P(EveryCodec, RowsThatWereNeverWrittenAreFinite) {
  for (const int head_dim : head_dims(*codec)) {
    SCOPED_TRACE(head_dim);
    Tiles tiles(*codec, head_dim);
    const auto rows = random_rows(1, head_dim, 6);
    tiles.encode(rows.data(), 0, 1);
    for (const float x : tiles.key(31)) EXPECT_TRUE(std::isfinite(x));
  }
}

TEST_P(EveryCodec, RotatesLoadedKeysLikeRotateRow) {
  for (const int head_dim : head_dims(*codec)) {
    SCOPED_TRACE(head_dim);
    const auto rows = random_rows(kTile, head_dim, 7);
    Tiles tiles(*codec, head_dim);
    tiles.encode(rows.data(), 0, kTile);
    const int half = head_dim / 2;
    std::vector<float> cos(half * kTile), sin(half * kTile);
    for (int i = 0; i < half * kTile; ++i) {
      cos[i] = std::cos(static_cast<float>(i) * 0.1f);
      sin[i] = std::sin(static_cast<float>(i) * 0.1f);
    }
    const int row = 9;
    auto expected = tiles.key(row);
    std::vector<float> c(half), s(half);
    for (int i = 0; i < half; ++i) {
      c[i] = cos[i * kTile + row];
      s[i] = sin[i * kTile + row];
    }
    kernels().rotate_row(expected.data(), c.data(), s.data(), head_dim);
    const float* tile = codec->load_keys(
        tiles.keys.data(), kTile, head_dim,
        {.cos = cos.data(), .sin = sin.data(), .rotary_dim = head_dim}, tiles.scratch.data());
    for (int d = 0; d < head_dim; ++d) EXPECT_EQ(tile[d * kTile + row], expected[d]) << d;
  }
}

TEST_P(EveryCodec, TileBytesAreWholeRowsAndMatchBitsPerValue) {
  for (const int head_dim : head_dims(*codec)) {
    SCOPED_TRACE(head_dim);
    EXPECT_EQ(codec->key_tile_bytes(head_dim) % kTile, 0u);
    EXPECT_EQ(codec->value_tile_bytes(head_dim) % kTile, 0u);
    EXPECT_DOUBLE_EQ(codec->bits_per_value(head_dim),
                     8.0 * codec->value_tile_bytes(head_dim) / (kTile * head_dim));
  }
}

TEST_P(EveryCodec, SpecReadsBackAsItself) {
  const std::string spec = codec->spec();
  EXPECT_EQ(codec_of(spec)->spec(), spec);
  EXPECT_EQ(parse_compressors(spec, "test").at(0).canonical, spec);
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryCodec, testing::ValuesIn(codec_specs()));

TEST(PlainCodec, RoundsToTheType) {
  const auto rows = random_rows(1, 64, 8);
  for (const std::string dtype : {"f32", "f16", "bf16"}) {
    const CodecPtr codec = plain_codec(dtype);
    EXPECT_EQ(codec->spec(), dtype);
    Tiles tiles(*codec, 64);
    tiles.encode(rows.data(), 4, 1);
    const auto back = tiles.value(4);
    for (int d = 0; d < 64; ++d) {
      const float expected = dtype == "f32"   ? rows[d]
                             : dtype == "f16" ? f16_to_float(float_to_f16(rows[d]))
                                              : bf16_to_float(float_to_bf16(rows[d]));
      EXPECT_EQ(back[d], expected);
    }
  }
  EXPECT_EQ(plain_codec("f16")->bits_per_value(64), 16);
}

TEST(PlainCodec, F16StopsAtItsLargestNumber) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> row = {1e5f, -1e5f, inf, -inf, 65519.0f, std::nanf("")};
  row.resize(16);
  const CodecPtr codec = plain_codec("f16");
  Tiles tiles(*codec, 16);
  tiles.encode(row.data(), 0, 1);
  const auto back = tiles.key(0);
  EXPECT_EQ(std::vector<float>(back.begin(), back.begin() + 5),
            (std::vector<float>{65504, -65504, 65504, -65504, 65504}));
  EXPECT_TRUE(std::isnan(back[5]));
}

TEST(PlainCodec, UnknownDtypeIsRefused) {
  try {
    plain_codec("fp16");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "kv_dtype must be one of f32, f16, bf16, found 'fp16'; did you mean 'f16'?");
    EXPECT_EQ(e.exit_status(), 2);
  }
}

TEST(IntCodec, TakesThePromisedBits) {
  EXPECT_EQ(codec_of("int8")->bits_per_value(64), 9);
  EXPECT_EQ(codec_of("int4")->bits_per_value(64), 5);
  EXPECT_EQ(codec_of("int2")->bits_per_value(64), 3);
  EXPECT_EQ(codec_of("int4(group=64)")->bits_per_value(128), 4.5);
  EXPECT_EQ(codec_of("int4")->key_tile_bytes(64), 32u * (32 + 8));
  // 80 channels make groups of 32, 32 and 16.
  EXPECT_EQ(codec_of("int4")->value_tile_bytes(80), 32u * (40 + 12));
}

// scale of the group, from the definition in int_codec.cc.
double scale_bound(const float* x, int n, int bits) {
  const auto [lo, hi] = std::minmax_element(x, x + n);
  // minimum and scale are rounded outwards by at most one step of a half.
  const double minimum = *lo - std::abs(*lo) / 1024 - 0x1p-24;
  return (*hi - minimum) / ((1 << bits) - 1) * (1 + 1.0 / 1024) + 0x1p-24;
}

void expect_within_half_a_step(int bits, int group, const std::vector<float>& row) {
  const CodecPtr codec = codec_of(fmt::format("int{}(group={})", bits, group));
  const int head_dim = static_cast<int>(row.size());
  Tiles tiles(*codec, head_dim);
  tiles.encode(row.data(), 3, 1);
  const auto back = tiles.value(3);
  for (int begin = 0; begin < head_dim; begin += group) {
    const int n = std::min(group, head_dim - begin);
    const double step = scale_bound(row.data() + begin, n, bits);
    for (int i = begin; i < begin + n; ++i) {
      EXPECT_LE(std::abs(static_cast<double>(back[i]) - row[i]), step / 2 + 1e-6 * std::abs(row[i]))
          << "int" << bits << " group " << group << " channel " << i << " value " << row[i];
    }
  }
}

TEST(IntCodec, ErrorIsAtMostHalfAStep) {
  for (const int bits : {8, 4, 2}) {
    for (const int group : {7, 32, 64}) {
      for (const float scale : {1e-7f, 1e-5f, 1e-2f, 1.0f, 100.0f, 9000.0f}) {
        auto row = random_rows(1, 80, 9, scale);
        expect_within_half_a_step(bits, group, row);
        for (float& x : row) x = x * 0.01f + 100;  // a spread far below the size
        expect_within_half_a_step(bits, group, row);
        for (float& x : row) x = -x;
        expect_within_half_a_step(bits, group, row);
      }
    }
  }
}

TEST(IntCodec, EndsOfTheRangeAreExactWhereHalvesAre) {
  std::vector<float> row(32);
  for (int i = 0; i < 32; ++i) row[i] = static_cast<float>(i % 16) * 0.5f - 2;
  const CodecPtr codec = codec_of("int4");
  Tiles tiles(*codec, 32);
  tiles.encode(row.data(), 0, 1);
  EXPECT_EQ(tiles.key(0), row);
}

TEST(IntCodec, TiesGoToTheEvenCode) {
  std::vector<float> row(32, 0.0f);
  row[1] = 3;  // scale 1 with two bits
  row[2] = 0.5f, row[3] = 1.5f, row[4] = 2.5f;
  const CodecPtr codec = codec_of("int2");
  Tiles tiles(*codec, 32);
  tiles.encode(row.data(), 0, 1);
  const auto back = tiles.value(0);
  EXPECT_EQ(back[2], 0);
  EXPECT_EQ(back[3], 2);
  EXPECT_EQ(back[4], 2);
}

TEST(IntCodec, EqualValuesHaveNoScale) {
  for (const float x : {0.0f, -0.0f, 0.25f, -65504.0f}) {
    const std::vector<float> row(32, x);
    const CodecPtr codec = codec_of("int8");
    Tiles tiles(*codec, 32);
    tiles.encode(row.data(), 0, 1);
    EXPECT_EQ(tiles.key(0), row);
  }
}

TEST(IntCodec, LargeValuesAreCutAndNanStaysVisible) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> row(64, 1.0f);
  row[0] = inf, row[1] = -1e30f;
  row[40] = std::nanf("");
  for (const char* spec : {"int8", "int4", "int2"}) {
    const CodecPtr codec = codec_of(spec);
    Tiles tiles(*codec, 64);
    tiles.encode(row.data(), 0, 1);
    const auto back = tiles.value(0);
    EXPECT_NEAR(back[0], 65504, 64);
    EXPECT_EQ(back[1], -65504);
    for (int d = 0; d < 32; ++d) EXPECT_TRUE(std::isfinite(back[d])) << d;
    for (int d = 32; d < 64; ++d) EXPECT_TRUE(std::isnan(back[d])) << d;
  }
}

}  // namespace
}  // namespace kv
