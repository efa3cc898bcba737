#include "engine/tile_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

namespace kv {
namespace {

constexpr size_t kTileBytes = 8256;

TEST(TileMemory, TilesDoNotOverlapAndAreAligned) {
  std::vector<std::byte*> tiles;
  for (int i = 0; i < 600; ++i) {  // more than one slab
    tiles.push_back(static_cast<std::byte*>(take_tile_memory(kTileBytes)));
    std::memset(tiles.back(), i % 251, kTileBytes);
  }
  for (int i = 0; i < 600; ++i) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tiles[i]) % 64, 0u);
    EXPECT_EQ(tiles[i][0], std::byte(i % 251));
    EXPECT_EQ(tiles[i][kTileBytes - 1], std::byte(i % 251));
  }
  for (std::byte* tile : tiles) give_back_tile_memory(tile, kTileBytes);
}

TEST(TileMemory, APlaceIsTakenAgain) {
  void* const first = take_tile_memory(kTileBytes);
  void* const second = take_tile_memory(kTileBytes);
  give_back_tile_memory(first, kTileBytes);
  void* const third = take_tile_memory(kTileBytes);
#ifndef __SANITIZE_ADDRESS__
  EXPECT_EQ(third, first);
#endif
  EXPECT_NE(third, second);
  give_back_tile_memory(second, kTileBytes);
  give_back_tile_memory(third, kTileBytes);
}

#ifndef __SANITIZE_ADDRESS__
TEST(TileMemory, EmptySlabsGoBackToTheSystem) {
  constexpr size_t kSize = 5056;  // of no other test
  const size_t before = tile_slab_bytes();
  std::vector<void*> tiles;
  for (int i = 0; i < 3000; ++i) tiles.push_back(take_tile_memory(kSize));
  const size_t most = tile_slab_bytes() - before;
  EXPECT_GE(most, 3000 * kSize);
  EXPECT_LE(most, 3000 * kSize * 101 / 100 + (2u << 20));
  for (void* tile : tiles) give_back_tile_memory(tile, kSize);
  EXPECT_LE(tile_slab_bytes(), before + (2u << 20));  // one is kept
}
#endif

TEST(TileMemory, SeveralThreads) {
  std::vector<std::vector<std::byte*>> taken(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        auto* tile = static_cast<std::byte*>(take_tile_memory(512));
        std::memset(tile, t, 512);
        taken[t].push_back(tile);
        if (i % 3 != 0) continue;
        give_back_tile_memory(taken[t].back(), 512);
        taken[t].pop_back();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::byte*> all;
  for (int t = 0; t < 4; ++t) {
    for (std::byte* tile : taken[t]) {
      EXPECT_TRUE(all.insert(tile).second);
      EXPECT_EQ(tile[0], std::byte(t));
      EXPECT_EQ(tile[511], std::byte(t));
    }
  }
  for (std::byte* tile : all) give_back_tile_memory(tile, 512);
}

TEST(TileMemory, LargeTiles) {
  constexpr size_t kLarge = size_t{3} << 20;
  void* const tile = take_tile_memory(kLarge);
  std::memset(tile, 1, kLarge);
  give_back_tile_memory(tile, kLarge);
}

}  // namespace
}  // namespace kv
