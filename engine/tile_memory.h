// Memory for the tiles of KV caches. Tiles of one size lie side by side in slabs of one huge page each: a
// tile of a few KiB in small pages of its own would cost a TLB miss or two wherever attention reads it.
// A slab without tiles goes back to the system. Safe to use from several threads.
#pragma once

#include <cstddef>

namespace kv {

// At a 64-byte boundary; contents are anything. Throws std::bad_alloc.
void* take_tile_memory(size_t n_bytes);
// What take_tile_memory(n_bytes) gave.
void give_back_tile_memory(void* memory, size_t n_bytes) noexcept;

size_t tile_slab_bytes();  // of all slabs there are: what tiles take, used or not

}  // namespace kv
