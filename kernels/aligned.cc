#include "kernels/aligned.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace kv {
namespace {

// Fresh pages, zero without being touched, whose first byte begins a huge page.
std::byte* map_huge(size_t n_bytes) {
  const size_t reserved = n_bytes + kHugePage;
  void* start = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) throw std::bad_alloc();
  auto* const begin = static_cast<std::byte*>(start);
  const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  std::byte* const data = begin + before;
  if (before > 0) munmap(begin, before);
  constexpr size_t kPage = 4096;
  std::byte* const end = data + (n_bytes + kPage - 1) / kPage * kPage;
  if (end < begin + reserved) munmap(end, static_cast<size_t>(begin + reserved - end));
  madvise(data, n_bytes, MADV_HUGEPAGE);  // a wish: where it is not granted, pages are small
  return data;
}

}  // namespace

AlignedBuffer::AlignedBuffer(size_t n_bytes) : size_(n_bytes) {
  if (n_bytes == 0) return;
  if (n_bytes >= kHugePage) {
    data_ = map_huge(n_bytes);
    return;
  }
  data_ = static_cast<std::byte*>(std::aligned_alloc(64, (n_bytes + 63) / 64 * 64));
  if (data_ == nullptr) throw std::bad_alloc();
  std::memset(data_, 0, n_bytes);
}

AlignedBuffer::~AlignedBuffer() {
  if (size_ >= kHugePage) {
    munmap(data_, size_);
  } else {
    std::free(data_);
  }
}

}  // namespace kv
