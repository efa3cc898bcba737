// Codecs whose groups reach over a whole layer: quanto* and hqq*, against optimum-quanto and hqq
// (tools/check_quantized_cache.py) and by their rules.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

#include "compress/registry.h"
#include "kernels/aligned.h"
#include "kernels/kernels.h"
#include "tests/compress/spec_testing.h"
#include "tests/paths.h"

namespace kv {
namespace {

constexpr int kHeads = 2, kRows = 8, kDim = 8;  // of the golden layer
constexpr int kValues = kHeads * kRows * kDim;

CodecPtr codec_of(const std::string& spec) {
  return parse_compressors(spec, "test").at(0).plan.codec;
}

// What the script feeds to the reference.
std::vector<float> made_up_values() {
  std::vector<float> values;
  uint64_t state = 12345;
  for (int i = 0; i < kValues; ++i) {
    state = (state * 1103515245 + 12345) % (uint64_t{1} << 31);
    values.push_back(static_cast<float>((state >> 16) % 8192) / 1024 - 4);
  }
  return values;
}

// A layer through codes and tiles and back, (heads, rows, dim), read as values and as keys.
struct Decoded {
  std::vector<float> values, keys;
};
Decoded through(const LayerCodec& codec, const std::vector<float>& x, int n_rows, int dim) {
  const int n_heads = static_cast<int>(x.size()) / (n_rows * dim);
  std::vector<uint8_t> codes(x.size());
  const LayerGroups groups = codec.encode_layer(x.data(), n_heads * n_rows, dim, codes.data());
  Decoded out;
  AlignedBuffer tile(codec.key_tile_bytes(dim));
  std::vector<float> scratch(static_cast<size_t>(padded(dim)) * kTile);
  for (int h = 0; h < n_heads; ++h) {
    codec.pack(codes.data() + h * n_rows * dim, n_rows, dim, tile.data());
    const float* v =
        codec.load_layer_values(tile.data(), groups, h * n_rows, n_rows, dim, scratch.data());
    for (int r = 0; r < n_rows; ++r)
      out.values.insert(out.values.end(), v + r * padded(dim), v + r * padded(dim) + dim);
    const float* k =
        codec.load_layer_keys(tile.data(), groups, h * n_rows, n_rows, dim, {}, scratch.data());
    for (int r = 0; r < n_rows; ++r) {
      for (int d = 0; d < dim; ++d) out.keys.push_back(k[d * kTile + r]);
    }
  }
  return out;
}

TEST(LayerCodec, DecodesWhatTheOriginalsDo) {
  std::ifstream file(source_dir().string() + "/tests/data/quantized_cache.txt");
  std::set<std::string> seen;
  std::string name, line;
  int axis = 0;
  while (file >> name >> axis && std::getline(file >> std::ws, line)) {
    SCOPED_TRACE(name + " axis " + std::to_string(axis));
    seen.insert(name);
    const CodecPtr codec = codec_of(name + "(group=8,axis=" + std::to_string(axis) + ")");
    const Decoded got = through(*codec->layer_codec(), made_up_values(), kRows, kDim);
    std::istringstream numbers(line);
    for (int i = 0; i < kValues; ++i) {
      float want = NAN;
      numbers >> want;
      EXPECT_NEAR(got.values[i], want, 2e-6f) << i;
      EXPECT_EQ(got.keys[i], got.values[i]) << i;
    }
  }
  EXPECT_EQ(seen.size(), 7u);
}

// Groups of 8 among 2 heads of 8 rows of 8 channels: with axis -1 a group is a channel of a head.
TEST(LayerCodec, GroupsFollowTheAxis) {
  std::vector<float> x(kValues, 0.25f);
  x[3 * kDim + 5] = 100;  // head 0, row 3, channel 5
  x[3 * kDim + 6] = 0.5f;
  const auto touched = [&](const std::string& spec) {
    const Decoded got = through(*codec_of(spec)->layer_codec(), x, kRows, kDim);
    return got.values[3 * kDim + 6] != 0.5f;
  };
  EXPECT_TRUE(touched("quanto2(group=8,axis=0)"));    // the outlier is in the same row
  EXPECT_FALSE(touched("quanto2(group=8,axis=-1)"));  // and in another channel
  EXPECT_TRUE(touched("hqq2(group=8,axis=1)"));
  EXPECT_FALSE(touched("hqq2(group=8,axis=0)"));  // values 16 apart
}

TEST(LayerCodec, EqualValuesAndNan) {
  for (const char* spec : {"quanto4(group=8)", "quanto2(group=8,axis=-1)"}) {
    const std::vector<float> x(kValues, -3.1f);
    EXPECT_EQ(through(*codec_of(spec)->layer_codec(), x, kRows, kDim).values, x) << spec;
  }
  for (const char* spec : {"quanto4(group=8)", "hqq4(group=8,axis=1)"}) {
    std::vector<float> x = made_up_values();
    x[10] = NAN;
    const Decoded got = through(*codec_of(spec)->layer_codec(), x, kRows, kDim);
    for (int i = 0; i < kValues; ++i)
      EXPECT_EQ(std::isnan(got.values[i]), i >= 8 && i < 16) << spec << " " << i;
  }
}

TEST(LayerCodec, PacksEveryWidth) {
  // 11 channels: rows of 1 and 3 bits end inside bytes.
  constexpr int kOdd = 11;
  for (const int bits : {8, 4, 3, 2, 1}) {
    const CodecPtr codec = codec_of("hqq" + std::to_string(bits) + "(group=11,axis=1)");
    EXPECT_EQ(codec->key_tile_bytes(kOdd), static_cast<size_t>((kOdd * bits + 7) / 8 * kTile));
    // Rows of whole codes that reach both ends are a fixed point of the first step.
    std::vector<float> x;
    const int top = (1 << bits) - 1;
    for (int r = 0; r < kTile; ++r) {
      for (int d = 0; d < kOdd; ++d)
        x.push_back(static_cast<float>(d == 0 ? 0 : d == 1 ? top : (r * 5 + d * 3) % (top + 1)));
    }
    const Decoded got = through(*codec->layer_codec(), x, kTile, kOdd);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(got.values[i], x[i], 1e-4) << bits;
  }
}

TEST(LayerCodec, SaysWhatWouldFit) {
  const auto message = [](const std::string& spec, int n_rows, int n_heads, int dim) {
    try {
      codec_of(spec)->layer_codec()->check_rows(n_rows, n_heads, dim);
    } catch (const Error& e) {
      EXPECT_EQ(e.exit_status(), 2);
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(message("quanto4", 100, 2, 64), "");
  EXPECT_EQ(message("hqq4", 100, 2, 16), "");
  EXPECT_EQ(message("quanto4", 3 * 33, 3, 16),
            "quanto4(group=64,residual=128,axis=0): the 1584 values of a layer (99 rows in 3 KV "
            "heads) cannot be cut into groups of 64; equal heads fit with a multiple of 4 rows "
            "each, or take a group that divides 1584");
  EXPECT_EQ(message("quanto2(axis=-1)", 200, 2, 64),
            "quanto2(group=64,residual=128,axis=-1): the 200 rows of a layer (200 rows in 2 KV "
            "heads) cannot be cut into groups of 64; equal heads fit with a multiple of 32 rows "
            "each, or take a group that divides 200");
  EXPECT_EQ(message("quanto2(axis=-1)", 192, 2, 64), "");
}

TEST(LayerCodec, CodesThePromptThenEveryResidual) {
  const CodecPtr codec = codec_of("quanto4(residual=20)");
  EXPECT_TRUE(codec->layer_codec()->recodes(0, 1));
  EXPECT_FALSE(codec->layer_codec()->recodes(50, 69));
  EXPECT_TRUE(codec->layer_codec()->recodes(50, 70));
  // One row alone never makes the whole layer be coded again.
  const CodecPtr one = codec_of("quanto4(residual=1)");
  EXPECT_FALSE(one->layer_codec()->recodes(50, 51));
  EXPECT_TRUE(one->layer_codec()->recodes(50, 52));
}

TEST(LayerCodec, RefusesOtherAxes) {
  EXPECT_NE(refusal("quanto4(axis=1)").find("axis"), std::string::npos);
  EXPECT_NE(refusal("hqq4(axis=-1)").find("axis"), std::string::npos);
  EXPECT_NE(refusal("streamingllm(ratio=0.5)+quanto4").find("coded after RoPE"), std::string::npos);
  EXPECT_NE(refusal("think(ratio=0.5,unit=pair)+hqq4").find("fewer channels"), std::string::npos);
}

}  // namespace
}  // namespace kv
