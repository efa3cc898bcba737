#include "engine/kv_cache.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <set>

#include "engine/error.h"

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
  void* memory = std::aligned_alloc(64, (sizeof(TilePage) + payload + 63) / 64 * 64);
  if (memory == nullptr) throw std::bad_alloc();
  auto* page = new (memory) TilePage;
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
  g_bytes_alive.fetch_sub(size_t{page->key_bytes} + page->value_bytes);
  page->~TilePage();
  std::free(page);
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

KvCache::KvCache(const ModelConfig& config, CodecPtr codec)
    : n_layers_(config.n_layers),
      n_kv_heads_(config.n_kv_heads),
      head_dim_(config.head_dim),
      codec_(std::move(codec)),
      heads_(static_cast<size_t>(n_layers_) * n_kv_heads_) {
  KV_CHECK(codec_ != nullptr);
  codec_->check_head_dim(head_dim_);
}

void KvCache::reserve(int layer, int n) {
  const size_t key_bytes = codec_->key_tile_bytes(head_dim_),
               value_bytes = codec_->value_tile_bytes(head_dim_);
  for (int h = 0; h < n_kv_heads_; ++h) {
    Head& rows = head(layer, h);
    if (n > 0 && rows.n_rows % kTile != 0)
      rows.pages.back().writable_keys();  // unshares the page that grows
    const size_t n_pages = (static_cast<size_t>(rows.n_rows) + n + kTile - 1) / kTile;
    while (rows.pages.size() < n_pages)
      rows.pages.push_back(PageRef::allocate(key_bytes, value_bytes));
  }
}

void KvCache::append(int layer, int kv_head, const float* keys, const float* values, int64_t stride,
                     int n) {
  Head& rows = head(layer, kv_head);
  KV_CHECK(rows.n_rows + rows.run_offset == n_tokens_ + rows.shift,
           "rows {} offset {} tokens {} shift {}", rows.n_rows, rows.run_offset, n_tokens_,
           rows.shift);
  for (int done = 0; done < n;) {
    PageRef& page = rows.pages[rows.n_rows / kTile];
    const int first = rows.n_rows % kTile, count = std::min(kTile - first, n - done);
    codec_->encode_keys(keys + done * stride, stride, first, count, head_dim_,
                        page.writable_keys());
    codec_->encode_values(values + done * stride, stride, first, count, head_dim_,
                          page.writable_values());
    rows.n_rows += count;
    done += count;
  }
}

size_t KvCache::bytes_in_use() const {
  const size_t row_bytes =
      (codec_->key_tile_bytes(head_dim_) + codec_->value_tile_bytes(head_dim_)) / kTile;
  size_t total = 0;
  std::set<const void*> counted;
  for (const Head& rows : heads_) {
    total += rows.n_rows * row_bytes;
    if (rows.listed && counted.insert(rows.listed.get()).second)
      total += rows.listed->size() * sizeof(int32_t);
    if (rows.dropped_channels) total += (rows.dropped_channels->size() + 7) / 8;  // as a bit mask
  }
  return total;
}

size_t KvCache::bytes_allocated() const {
  size_t total = 0;
  std::set<const void*> counted;
  for (const Head& rows : heads_) {
    for (const PageRef& page : rows.pages) total += page.bytes();
    if (rows.listed && counted.insert(rows.listed.get()).second)
      total += rows.listed->capacity() * sizeof(int32_t);
    if (rows.dropped_channels) total += rows.dropped_channels->capacity();
  }
  return total;
}

}  // namespace kv
