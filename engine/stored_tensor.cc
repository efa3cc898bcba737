#include "engine/stored_tensor.h"

#include <fmt/ranges.h>

#include <cstring>

#include "engine/dequantize.h"
#include "engine/error.h"

namespace kv {
namespace {

struct StorageInfo {
  const char* name;
  int values;
  size_t bytes;
};

const StorageInfo& info(StorageType type) {
  static const StorageInfo kInfo[] = {{"F32", 1, 4},     {"F16", 1, 2},    {"BF16", 1, 2},
                                      {"Q4_0", 32, 18},  {"Q4_1", 32, 20}, {"Q8_0", 32, 34},
                                      {"Q6_K", 256, 210}};
  return kInfo[static_cast<int>(type)];
}

// Row of the file that holds row `row` of a slice, and of the half-split order: within a head, i and
// i + half lie side by side.
int64_t file_row(const StoredTensor& tensor, int64_t row) {
  const StoredTensor::Slice& slice = tensor.slice;
  if (slice.block != 0) row = slice.first + row / slice.block * slice.stride + row % slice.block;
  const int64_t head_dim = tensor.interleaved_head_dim;
  if (head_dim == 0) return row;
  const int64_t half = head_dim / 2, inside = row % head_dim;
  return row - inside + 2 * (inside % half) + inside / half;
}

bool same_bits(StorageType stored, DType wanted) {
  return (stored == StorageType::kF32 && wanted == DType::kF32) ||
         (stored == StorageType::kF16 && wanted == DType::kF16) ||
         (stored == StorageType::kBF16 && wanted == DType::kBF16);
}

// n consecutive values of the file as float. source needs no alignment; scratch holds n 16-bit
// values.
void decode(StorageType type, const std::byte* source, int64_t n, std::vector<uint16_t>& scratch,
            float* out) {
  switch (type) {
    case StorageType::kF32:
      std::memcpy(out, source, static_cast<size_t>(n) * sizeof(float));
      return;
    case StorageType::kF16:
    case StorageType::kBF16:
      scratch.resize(static_cast<size_t>(n));
      std::memcpy(scratch.data(), source, scratch.size() * sizeof(uint16_t));
      (type == StorageType::kF16 ? kernels().from_f16 : kernels().from_bf16)(scratch.data(), n,
                                                                             out);
      return;
    case StorageType::kQ4_0:
      return dequantize_q4_0(source, n, out);
    case StorageType::kQ4_1:
      return dequantize_q4_1(source, n, out);
    case StorageType::kQ8_0:
      return dequantize_q8_0(source, n, out);
    case StorageType::kQ6_K:
      return dequantize_q6_k(source, n, out);
  }
}

// Rows of a matrix that the file holds column after column, as float (n, row_length).
void read_transposed(const StoredTensor& tensor, int64_t first, int64_t n, float* out) {
  const int64_t length = tensor.row_length();
  const size_t value_bytes = block_bytes(tensor.type);
  std::vector<uint16_t> scratch;
  for (int64_t input = 0; input < length; ++input) {
    const std::byte* column =
        tensor.data + static_cast<size_t>(input * tensor.transposed_outputs) * value_bytes;
    for (int64_t r = 0; r < n; ++r) {
      const std::byte* source =
          column + static_cast<size_t>(file_row(tensor, first + r)) * value_bytes;
      decode(tensor.type, source, 1, scratch, out + r * length + input);
    }
  }
}

}  // namespace

const char* storage_name(StorageType type) {
  return info(type).name;
}
int block_values(StorageType type) {
  return info(type).values;
}
size_t block_bytes(StorageType type) {
  return info(type).bytes;
}

int64_t StoredTensor::elements() const {
  int64_t n = 1;
  for (const int64_t extent : shape) n *= extent;
  return n;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("{}", shape);
}

DType stored_dtype(StorageType type) {
  if (type == StorageType::kF16) return DType::kF16;
  if (type == StorageType::kBF16) return DType::kBF16;
  return DType::kF32;
}

void read_rows(const StoredTensor& tensor, int64_t first, int64_t n, DType dtype, void* out) {
  KV_CHECK(first >= 0 && first + n <= tensor.rows(), "{} rows {}+{} of {}", tensor.name, first, n,
           tensor.rows());
  const int64_t length = tensor.row_length();
  if (tensor.transposed_outputs != 0) {
    std::vector<float> columns(static_cast<size_t>(n * length));
    read_transposed(tensor, first, n, columns.data());
    if (dtype == DType::kF32) {
      std::memcpy(out, columns.data(), columns.size() * sizeof(float));
    } else {
      (dtype == DType::kF16 ? kernels().to_f16 : kernels().to_bf16)(columns.data(), n * length,
                                                                    static_cast<uint16_t*>(out));
    }
    return;
  }
  const size_t stored_row_bytes =
      static_cast<size_t>(length / block_values(tensor.type)) * block_bytes(tensor.type);
  const size_t out_row_bytes = static_cast<size_t>(length) * dtype_bytes(dtype);
  std::vector<float> wide;
  std::vector<uint16_t> scratch;
  for (int64_t i = 0; i < n; ++i) {
    const std::byte* source =
        tensor.data + static_cast<size_t>(file_row(tensor, first + i)) * stored_row_bytes;
    std::byte* target = static_cast<std::byte*>(out) + static_cast<size_t>(i) * out_row_bytes;
    if (same_bits(tensor.type, dtype)) {
      std::memcpy(target, source, out_row_bytes);
    } else if (dtype == DType::kF32) {
      decode(tensor.type, source, length, scratch, reinterpret_cast<float*>(target));
    } else {
      wide.resize(static_cast<size_t>(length));
      decode(tensor.type, source, length, scratch, wide.data());
      (dtype == DType::kF16 ? kernels().to_f16 : kernels().to_bf16)(
          wide.data(), length, reinterpret_cast<uint16_t*>(target));
    }
  }
}

std::vector<float> read_floats(const StoredTensor& tensor) {
  std::vector<float> stored(static_cast<size_t>(tensor.elements()));
  if (tensor.shape.size() >= 2) {
    read_rows(tensor, 0, tensor.rows(), DType::kF32, stored.data());
    return stored;
  }
  std::vector<uint16_t> scratch;
  if (tensor.interleaved_head_dim == 0 && tensor.slice.block == 0) {
    decode(tensor.type, tensor.data, tensor.elements(), scratch, stored.data());
    return stored;
  }
  const auto whole = static_cast<int64_t>(tensor.stored_bytes() / block_bytes(tensor.type)) *
                     block_values(tensor.type);
  std::vector<float> file_order(static_cast<size_t>(whole));
  decode(tensor.type, tensor.data, whole, scratch, file_order.data());
  for (size_t i = 0; i < stored.size(); ++i) {
    stored[i] = file_order[static_cast<size_t>(file_row(tensor, static_cast<int64_t>(i)))];
  }
  return stored;
}

}  // namespace kv
