#include "engine/tile_page.h"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>

#include "engine/tile_memory.h"
#include "kernels/prefetch.h"

namespace kv {

// The tiles follow the header in the same allocation, both at 64-byte boundaries.
class alignas(64) TilePage {
 public:
  std::atomic<int32_t> references{1};
  uint32_t key_bytes = 0, value_bytes = 0;

  std::byte* keys() { return reinterpret_cast<std::byte*>(this + 1); }
  std::byte* values() { return keys() + key_bytes; }
};

namespace {

std::atomic<size_t> g_bytes_alive{0};
std::atomic<size_t> g_bytes_peak{0};

TilePage* new_page(size_t key_bytes, size_t value_bytes) {
  const size_t payload = key_bytes + value_bytes;
  auto* page = new (take_tile_memory(sizeof(TilePage) + payload)) TilePage;
  page->key_bytes = static_cast<uint32_t>(key_bytes);
  page->value_bytes = static_cast<uint32_t>(value_bytes);
  std::memset(page->keys(), 0, payload);
  const size_t alive = g_bytes_alive.fetch_add(payload) + payload;
  size_t peak = g_bytes_peak.load();
  while (alive > peak && !g_bytes_peak.compare_exchange_weak(peak, alive)) {
  }
  return page;
}

void release(TilePage* page) {
  if (page == nullptr || page->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  const size_t payload = size_t{page->key_bytes} + page->value_bytes;
  g_bytes_alive.fetch_sub(payload);
  page->~TilePage();
  give_back_tile_memory(page, sizeof(TilePage) + payload);
}

}  // namespace

size_t page_bytes_alive() {
  return g_bytes_alive.load();
}
size_t page_bytes_peak() {
  return g_bytes_peak.load();
}
void reset_page_bytes_peak() {
  g_bytes_peak.store(g_bytes_alive.load());
}

PageRef PageRef::allocate(size_t key_bytes, size_t value_bytes) {
  PageRef ref;
  ref.page_ = new_page(key_bytes, value_bytes);
  return ref;
}

PageRef::PageRef(const PageRef& other) : page_(other.page_) {
  if (page_ != nullptr) page_->references.fetch_add(1, std::memory_order_relaxed);
}

PageRef::~PageRef() {
  release(page_);
}

const std::byte* PageRef::keys() const {
  return page_->keys();
}
const std::byte* PageRef::values() const {
  return page_->values();
}

void PageRef::prefetch_keys() const {
  prefetch(keys(), page_->key_bytes);
}

void PageRef::prefetch_values() const {
  prefetch(values(), page_->value_bytes);
}

std::byte* PageRef::writable_keys() {
  make_unique();
  return page_->keys();
}

std::byte* PageRef::writable_values() {
  make_unique();
  return page_->values();
}

size_t PageRef::bytes() const {
  return page_ == nullptr ? 0 : size_t{page_->key_bytes} + page_->value_bytes;
}

void PageRef::make_unique() {
  if (page_->references.load(std::memory_order_acquire) == 1) return;
  TilePage* copy = new_page(page_->key_bytes, page_->value_bytes);
  std::memcpy(copy->keys(), page_->keys(), bytes());
  release(page_);
  page_ = copy;
}

}  // namespace kv
