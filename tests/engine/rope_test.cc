#include "engine/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/engine/random_model.h"

namespace kv {
namespace {

TEST(Rope, DefaultAnglesAreFloatProducts) {
  const RopeTable table({}, testing::small_config().rotary_dim, 100);
  const RopeFrequencies f = rope_frequencies({}, testing::small_config().rotary_dim);
  ASSERT_EQ(f.inv_freq.size(), 8u);
  EXPECT_EQ(f.inv_freq[0], 1.0f);
  for (int i = 0; i < 8; ++i) {
    EXPECT_NEAR(f.inv_freq[i], std::pow(10000.0, -i / 8.0), 1e-7 * f.inv_freq[i] + 1e-12);
    const float angle = 77.0f * f.inv_freq[i];
    EXPECT_NEAR(table.cos_row(77)[i], std::cos(static_cast<double>(angle)), 6e-8);
    EXPECT_NEAR(table.sin_row(77)[i], std::sin(static_cast<double>(angle)), 6e-8);
  }
  EXPECT_EQ(table.n_positions(), 128);
}

TEST(Rope, LinearDividesFrequencies) {
  ModelConfig c = testing::small_config();
  const RopeFrequencies plain = rope_frequencies(c.rope, c.rotary_dim);
  c.rope.type = RopeType::kLinear;
  c.rope.factor = 4;
  const RopeFrequencies stretched = rope_frequencies(c.rope, c.rotary_dim);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(stretched.inv_freq[i], plain.inv_freq[i] / 4);
}

// Expected values: float32 results of the published Llama 3.1 rule, worked by hand in double.
TEST(Rope, Llama3KeepsShortStretchesLongBlendsBetween) {
  ModelConfig c = testing::small_config();
  c.rope = {.type = RopeType::kLlama3,
            .theta = 500000.0,
            .factor = 8,
            .low_freq_factor = 1,
            .high_freq_factor = 4,
            .original_max_position = 64};
  const RopeFrequencies f = rope_frequencies(c.rope, c.rotary_dim);
  for (int i = 0; i < 8; ++i) {
    const double inv = std::pow(500000.0, -i / 8.0), wavelength = 2 * M_PI / inv;
    double expected = inv;
    if (wavelength > 64) {
      expected = inv / 8;
    } else if (wavelength >= 16) {
      const double blend = (64 / wavelength - 1) / 3;
      expected = (1 - blend) * inv / 8 + blend * inv;
    }
    EXPECT_NEAR(f.inv_freq[i], expected, 2e-7 * expected) << i;
  }
}

TEST(Rope, YarnScalesCosAndSin) {
  ModelConfig c = testing::small_config();
  c.rope = {.type = RopeType::kYarn, .theta = 10000.0, .factor = 4, .original_max_position = 64};
  const RopeFrequencies f = rope_frequencies(c.rope, c.rotary_dim);
  EXPECT_FLOAT_EQ(f.attention_factor, static_cast<float>(0.1 * std::log(4.0) + 1));
  const RopeTable table(c.rope, c.rotary_dim, 32);
  EXPECT_EQ(table.cos_row(0)[0], f.attention_factor);
  EXPECT_LE(f.inv_freq[7],
            std::pow(10000.0, -7 / 8.0) / 4 * 1.000001);  // the slowest dimension interpolates
  EXPECT_NEAR(f.inv_freq[0], 1.0, 1e-6);                  // the fastest extrapolates
  c.rope.attention_factor = 1.5;
  EXPECT_EQ(rope_frequencies(c.rope, c.rotary_dim).attention_factor, 1.5f);
}

TEST(Rope, TilesAgreeWithRows) {
  const RopeTable table({}, testing::small_config().rotary_dim, 256);
  std::vector<float> scratch(2 * 8 * kTile);
  HeadCache head;
  head.n_rows = 96;
  const auto check = [&](int tile) {
    const RopeTile t = table.tile(head, tile, scratch.data());
    ASSERT_EQ(t.rotary_dim, 16);
    for (int r = 0; r < std::min(kTile, head.n_rows - tile * kTile); ++r) {
      const int position = head.position(tile * kTile + r);
      for (int i = 0; i < 8; ++i) {
        EXPECT_EQ(t.cos[i * kTile + r], table.cos_row(position)[i]) << tile << " " << r;
        EXPECT_EQ(t.sin[i * kTile + r], table.sin_row(position)[i]);
      }
    }
  };
  for (int tile = 0; tile < 3; ++tile) check(tile);
  head.run_offset = 5;  // unaligned run
  for (int tile = 0; tile < 3; ++tile) check(tile);
  head.listed =
      std::make_shared<const std::vector<int32_t>>(std::vector<int32_t>{0, 7, 90, 200, 201});
  head.run_offset = 100;
  head.n_rows = 70;
  for (int tile = 0; tile < 3; ++tile) check(tile);
}

}  // namespace
}  // namespace kv
