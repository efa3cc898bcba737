#include "engine/tile_memory.h"

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <utility>

#include "kernels/aligned.h"

namespace kv {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kSlabBytes = kHugePage;

// Larger ones would waste too much of a slab. Under AddressSanitizer every tile is an allocation of its
// own, so that it sees reads of one that is gone.
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kLargestTile = 0;
#else
constexpr size_t kLargestTile = kSlabBytes / 16;
#endif

size_t rounded(size_t n_bytes) {
  return (n_bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// One huge page of places for tiles of one size.
class Slab {
 public:
  explicit Slab(size_t tile_bytes)
      : memory_(kSlabBytes), tile_bytes_(tile_bytes), n_places_(kSlabBytes / tile_bytes) {}

  const std::byte* begin() const { return memory_.data(); }
  bool is_full() const { return n_used_ == n_places_; }
  bool is_empty() const { return n_used_ == 0; }

  std::byte* take() {
    ++n_used_;
    if (free_ != nullptr) return reinterpret_cast<std::byte*>(std::exchange(free_, free_->next));
    return memory_.data() + n_begun_++ * tile_bytes_;
  }
  void give_back(void* place) {
    --n_used_;
    free_ = new (place) Free{free_};
  }

 private:
  struct Free {
    Free* next;
  };
  AlignedBuffer memory_;
  size_t tile_bytes_, n_places_;
  size_t n_used_ = 0, n_begun_ = 0;  // places from n_begun_ on were never taken
  Free* free_ = nullptr;
};

class TileMemory {
 public:
  void* take(size_t tile_bytes) {
    const std::lock_guard lock(mutex_);
    std::set<Slab*>& open = open_[tile_bytes];
    if (open.empty()) {
      auto slab = std::make_unique<Slab>(tile_bytes);
      open.insert(slab.get());
      slabs_.emplace(slab->begin(), std::move(slab));
    }
    Slab* slab = *open.begin();
    std::byte* place = slab->take();
    if (slab->is_full()) open.erase(slab);
    return place;
  }

  void give_back(void* place, size_t tile_bytes) {
    const std::lock_guard lock(mutex_);
    // A slab begins where a huge page does.
    auto* at = static_cast<std::byte*>(place);
    at -= reinterpret_cast<uintptr_t>(at) % kSlabBytes;
    Slab* slab = slabs_.at(at).get();
    std::set<Slab*>& open = open_.at(tile_bytes);
    slab->give_back(place);
    open.insert(slab);
    if (!slab->is_empty() || open.size() == 1) return;  // the last one is kept for what comes next
    open.erase(slab);
    slabs_.erase(at);
  }

  size_t bytes() {
    const std::lock_guard lock(mutex_);
    return slabs_.size() * kSlabBytes;
  }

 private:
  std::mutex mutex_;
  std::map<const std::byte*, std::unique_ptr<Slab>> slabs_;  // by their first byte
  std::map<size_t, std::set<Slab*>> open_;                   // slabs with free places, by tile size
};

// Never destroyed: caches in static storage may outlive any other order.
TileMemory& tile_memory() {
  static auto* memory = new TileMemory;
  return *memory;
}

}  // namespace

void* take_tile_memory(size_t n_bytes) {
  const size_t bytes = rounded(n_bytes);
  if (bytes <= kLargestTile) return tile_memory().take(bytes);
  void* memory = std::aligned_alloc(kAlignment, bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void give_back_tile_memory(void* memory, size_t n_bytes) noexcept {
  const size_t bytes = rounded(n_bytes);
  if (bytes <= kLargestTile) {
    tile_memory().give_back(memory, bytes);
  } else {
    std::free(memory);
  }
}

size_t tile_slab_bytes() {
  return tile_memory().bytes();
}

}  // namespace kv
