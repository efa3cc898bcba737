#include "engine/kv_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "compress/registry.h"
#include "tests/engine/random_model.h"

namespace kv {
namespace {

// Rows 0 .. n - 1 of one head as float: keys unrotated (n, head_dim), then values.
std::vector<float> rows_of(const KvCache& cache, int layer, int h) {
  const int d = cache.head_dim(), width = padded(d);
  const KvCache::Head& head = cache.head(layer, h);
  std::vector<float> keys(width * kTile), values(width * kTile), out(2 * head.n_rows * d);
  for (int r = 0; r < head.n_rows; ++r) {
    const PageRef& page = head.pages[r / kTile];
    const int n = std::min(kTile, head.n_rows - r / kTile * kTile);
    const float* k = cache.codec().load_keys(page.keys(), n, d, {}, keys.data());
    const float* v = cache.codec().load_values(page.values(), n, d, values.data());
    for (int i = 0; i < d; ++i) {
      out[r * d + i] = k[i * kTile + r % kTile];
      out[(head.n_rows + r) * d + i] = v[(r % kTile) * width + i];
    }
  }
  return out;
}

class Filled {
 public:
  explicit Filled(const std::string& codec)
      : config(testing::small_config()), cache(config, plain_codec(codec)) {}

  void add(int n) {
    const std::vector<float> keys = random.normal(n * width(), 1),
                             values = random.normal(n * width(), 1);
    for (int l = 0; l < config.n_layers; ++l) {
      cache.reserve(l, n);
      for (int h = 0; h < config.n_kv_heads; ++h) {
        cache.append(l, h, keys.data() + h * config.head_dim, values.data() + h * config.head_dim,
                     width(), n);
      }
    }
    cache.advance(n);
  }
  int width() const { return config.n_kv_heads * config.head_dim; }

  ModelConfig config;
  testing::RandomWeights random{3};
  KvCache cache;
};

TEST(KvCache, RowsComeBackHoweverTheyWereCut) {
  Filled whole("f32"), parts("f32");
  whole.add(70);
  testing::RandomWeights random(3);
  const std::vector<float> keys = random.normal(70 * whole.width(), 1),
                           values = random.normal(70 * whole.width(), 1);
  int at = 0;
  for (int n : {1, 31, 5, 32, 1}) {
    for (int l = 0; l < 2; ++l) {
      parts.cache.reserve(l, n);
      for (int h = 0; h < 2; ++h) {
        parts.cache.append(l, h, keys.data() + at * parts.width() + h * 16,
                           values.data() + at * parts.width() + h * 16, parts.width(), n);
      }
    }
    parts.cache.advance(n);
    at += n;
  }
  ASSERT_EQ(at, 70);
  EXPECT_EQ(rows_of(whole.cache, 1, 1), rows_of(parts.cache, 1, 1));
  const std::vector<float> rows = rows_of(whole.cache, 0, 1);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(rows[69 * 16 + i], keys[69 * whole.width() + 16 + i]);
}

TEST(KvCache, ForkSharesPagesUntilOneWrites) {
  const size_t before = page_bytes_alive();
  {
    Filled a("f16");
    a.add(40);
    const size_t one = page_bytes_alive() - before;
    EXPECT_EQ(one, a.cache.bytes_allocated());
    KvCache b = a.cache.fork();
    EXPECT_EQ(page_bytes_alive() - before, one);
    const std::vector<float> kept = rows_of(b, 0, 0);
    a.add(3);  // the second page of each head is copied, the first stays shared
    EXPECT_EQ(page_bytes_alive() - before, one + one / 2);
    EXPECT_EQ(rows_of(b, 0, 0), kept);
    EXPECT_TRUE(a.cache.head(0, 0).pages[0].same_as(b.head(0, 0).pages[0]));
    EXPECT_FALSE(a.cache.head(0, 0).pages[1].same_as(b.head(0, 0).pages[1]));
  }
  EXPECT_EQ(page_bytes_alive(), before);
}

TEST(KvCache, CountsBytesInUse) {
  Filled a("f16");
  a.add(33);
  // 2 layers x 2 heads x 33 rows x (16 + 16 channels) x 2 bytes; whole tiles are allocated.
  EXPECT_EQ(a.cache.bytes_in_use(), 2u * 2 * 33 * 32 * 2);
  EXPECT_EQ(a.cache.bytes_allocated(), 2u * 2 * 64 * 32 * 2);
}

TEST(KvCache, PeakRemembersWhatWasAlive) {
  reset_page_bytes_peak();
  const size_t before = page_bytes_alive();
  {
    Filled a("f32");
    a.add(64);
  }
  EXPECT_EQ(page_bytes_alive(), before);
  EXPECT_EQ(page_bytes_peak(), before + 2u * 2 * 64 * 32 * 4);
}

}  // namespace
}  // namespace kv
