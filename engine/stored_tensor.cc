#include "engine/stored_tensor.h"

#include <fmt/ranges.h>

#include <cstring>
#include <iterator>

#include "engine/dequantize.h"
#include "engine/error.h"

namespace kv {
namespace {

struct StorageInfo {
  const char* name;
  uint32_t gguf_number;
  int values;                                                      // of a block
  size_t bytes;                                                    // of a block
  void (*decode)(const std::byte* source, int64_t n, float* out);  // source needs no alignment
};

// In the order of StorageType.
constexpr StorageInfo kStorage[] = {
    {"F32", 0, 1, 4, widen_f32},
    {"F16", 1, 1, 2, widen_f16},
    {"BF16", 30, 1, 2, widen_bf16},
    {"F64", 28, 1, 8, round_f64},
    {"Q4_0", 2, 32, 18, dequantize_q4_0},
    {"Q4_1", 3, 32, 20, dequantize_q4_1},
    {"Q5_0", 6, 32, 22, dequantize_q5_0},
    {"Q5_1", 7, 32, 24, dequantize_q5_1},
    {"Q8_0", 8, 32, 34, dequantize_q8_0},
    {"IQ4_NL", 20, 32, 18, dequantize_iq4_nl},
    {"MXFP4", 39, 32, 17, dequantize_mxfp4},
    {"Q2_K", 10, 256, 84, dequantize_q2_k},
    {"Q3_K", 11, 256, 110, dequantize_q3_k},
    {"Q4_K", 12, 256, 144, dequantize_q4_k},
    {"Q5_K", 13, 256, 176, dequantize_q5_k},
    {"Q6_K", 14, 256, 210, dequantize_q6_k},
    {"IQ4_XS", 23, 256, 136, dequantize_iq4_xs},
    {"TQ1_0", 34, 256, 54, dequantize_tq1_0},
    {"TQ2_0", 35, 256, 66, dequantize_tq2_0},
};

const StorageInfo& info(StorageType type) {
  return kStorage[static_cast<int>(type)];
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

// Rows of a matrix that the file holds column after column, as float (n, row_length).
void read_transposed(const StoredTensor& tensor, int64_t first, int64_t n, float* out) {
  const int64_t length = tensor.row_length();
  const size_t value_bytes = block_bytes(tensor.type);
  for (int64_t input = 0; input < length; ++input) {
    const std::byte* column =
        tensor.data + static_cast<size_t>(input * tensor.transposed_outputs) * value_bytes;
    for (int64_t r = 0; r < n; ++r) {
      const std::byte* source =
          column + static_cast<size_t>(file_row(tensor, first + r)) * value_bytes;
      info(tensor.type).decode(source, 1, out + r * length + input);
    }
  }
}

}  // namespace

std::optional<StorageType> storage_of_gguf(uint32_t number) {
  for (size_t i = 0; i < std::size(kStorage); ++i) {
    if (kStorage[i].gguf_number == number) return static_cast<StorageType>(i);
  }
  return std::nullopt;
}

std::string storage_names() {
  std::string names;
  for (const StorageInfo& storage : kStorage)
    names += (names.empty() ? "" : ", ") + std::string(storage.name);
  return names;
}

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
  for (int64_t i = 0; i < n; ++i) {
    const std::byte* source =
        tensor.data + static_cast<size_t>(file_row(tensor, first + i)) * stored_row_bytes;
    std::byte* target = static_cast<std::byte*>(out) + static_cast<size_t>(i) * out_row_bytes;
    if (same_bits(tensor.type, dtype)) {
      std::memcpy(target, source, out_row_bytes);
    } else if (dtype == DType::kF32) {
      info(tensor.type).decode(source, length, reinterpret_cast<float*>(target));
    } else {
      wide.resize(static_cast<size_t>(length));
      info(tensor.type).decode(source, length, wide.data());
      (dtype == DType::kF16 ? kernels().to_f16 : kernels().to_bf16)(
          wide.data(), length, reinterpret_cast<uint16_t*>(target));
    }
  }
}

const std::byte* stored_row(const StoredTensor& tensor, int64_t row) {
  KV_CHECK(block_values(tensor.type) > 1 && tensor.transposed_outputs == 0 && row >= 0 &&
               row < tensor.rows(),
           "{} row {} of {}", tensor.name, row, tensor.rows());
  const int64_t n_blocks = tensor.row_length() / block_values(tensor.type);
  return tensor.data +
         static_cast<size_t>(file_row(tensor, row) * n_blocks) * block_bytes(tensor.type);
}

std::vector<float> read_floats(const StoredTensor& tensor) {
  std::vector<float> stored(static_cast<size_t>(tensor.elements()));
  if (tensor.shape.size() >= 2) {
    read_rows(tensor, 0, tensor.rows(), DType::kF32, stored.data());
    return stored;
  }
  if (tensor.interleaved_head_dim == 0 && tensor.slice.block == 0) {
    info(tensor.type).decode(tensor.data, tensor.elements(), stored.data());
    return stored;
  }
  const auto whole = static_cast<int64_t>(tensor.stored_bytes() / block_bytes(tensor.type)) *
                     block_values(tensor.type);
  std::vector<float> file_order(static_cast<size_t>(whole));
  info(tensor.type).decode(tensor.data, whole, file_order.data());
  for (size_t i = 0; i < stored.size(); ++i) {
    stored[i] = file_order[static_cast<size_t>(file_row(tensor, static_cast<int64_t>(i)))];
  }
  return stored;
}

}  // namespace kv
