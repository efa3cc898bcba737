#include "engine/stored_codes.h"

#include <cstring>

#include "engine/block_bytes.h"
#include "engine/error.h"

namespace kv {
namespace {

constexpr int kGroup = kInt8Group;  // inputs that share a scale; a block of the small formats

// Eight groups that share two bytes of scale, two of minimum and twelve of factors for both.
void read_q4_k(const std::byte* block, int64_t n_groups, float* scales, float* minimums,
               uint8_t* codes) {
  constexpr int kRuns = 8;
  for (int64_t g = 0; g < n_groups; ++g, codes += kGroup) {
    const int run = static_cast<int>(g % kRuns);
    if (g > 0 && run == 0) block += block_bytes(StorageType::kQ4_K);
    const SixBitPair pair = six_bit_pair(as_bytes(block + 4), run);
    scales[g] = read_half(block) * static_cast<float>(pair.scale);
    minimums[g] = -(read_half(block + 2) * static_cast<float>(pair.minimum));
    for (int i = 0; i < kGroup; ++i)
      codes[i] = static_cast<uint8_t>(nibble(as_bytes(block + 16), run, i));
  }
}

}  // namespace

int code_bits(StorageType type) {
  switch (type) {
    case StorageType::kQ8_0:
    case StorageType::kQ5_0:
      return 8;
    case StorageType::kQ4_0:
    case StorageType::kQ4_1:
    case StorageType::kQ4_K:
      return 4;
    default:
      return 0;
  }
}

const char* coded_types() {
  return "Q8_0, Q5_0, Q4_0, Q4_1 and Q4_K";
}

void read_codes(const StoredTensor& tensor, int64_t row, uint16_t* scales, int8_t* codes) {
  KV_CHECK(code_bits(tensor.type) == 8, "{} is {}", tensor.name, storage_name(tensor.type));
  const std::byte* block = stored_row(tensor, row);
  for (int64_t g = 0; g < tensor.row_length() / kGroup; ++g, codes += kGroup) {
    std::memcpy(scales + g, block, sizeof(*scales));
    if (tensor.type == StorageType::kQ8_0) {
      std::memcpy(codes, block + 2, kGroup);
    } else {
      spread_five_bits(block + 2, codes, [](int code) { return static_cast<int8_t>(code - 16); });
    }
    block += block_bytes(tensor.type);
  }
}

void read_codes(const StoredTensor& tensor, int64_t row, float* scales, float* minimums,
                uint8_t* codes) {
  KV_CHECK(code_bits(tensor.type) == 4, "{} is {}", tensor.name, storage_name(tensor.type));
  const std::byte* block = stored_row(tensor, row);
  const int64_t n_groups = tensor.row_length() / kGroup;
  if (tensor.type == StorageType::kQ4_K) {
    read_q4_k(block, n_groups, scales, minimums, codes);
    return;
  }
  const bool has_minimum = tensor.type == StorageType::kQ4_1;
  for (int64_t g = 0; g < n_groups; ++g, codes += kGroup, block += block_bytes(tensor.type)) {
    scales[g] = read_half(block);
    minimums[g] = has_minimum ? read_half(block + 2) : -8 * scales[g];
    spread_nibbles(block + (has_minimum ? 4 : 2), codes,
                   [](int code) { return static_cast<uint8_t>(code); });
  }
}

}  // namespace kv
