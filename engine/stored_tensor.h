// A tensor as a model file stores it, and reading its rows as f32, f16 or bf16.
//
// Safetensors and GGUF files both come down to a list of these; the loader knows neither format.
// How the bytes of each type become numbers stands in dequantize.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace kv {

enum class StorageType {
  kF32,
  kF16,
  kBF16,
  kF64,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kIQ4_NL,
  kMXFP4,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_XS,
  kTQ1_0,
  kTQ2_0
};

// By the number that GGUF files have for a type; nothing for those that cannot be read.
std::optional<StorageType> storage_of_gguf(uint32_t number);
std::string storage_names();                 // all of them, for messages
const char* storage_name(StorageType type);  // "F32", "Q4_1", … as the formats spell it
int block_values(StorageType type);          // values that are stored together: 1, 32 or 256
size_t block_bytes(StorageType type);        // bytes of such a block

struct StoredTensor {
  std::string name;         // Hugging Face's spelling: "model.layers.0.mlp.up_proj.weight"
  std::string stored_name;  // as the file spells it
  std::string file;         // for messages
  StorageType type = StorageType::kF32;
  std::vector<int64_t> shape;       // outermost first: a matrix is (outputs, inputs)
  const std::byte* data = nullptr;  // into the mapped file; no alignment
  size_t bytes = 0;
  // GGUF files of Llama models hold the rows of each q and k head as pairs (i, i + half) side by
  // side. Not 0: the head size, and rows are handed out in the half-split order all the same.
  int interleaved_head_dim = 0;
  // A slice of a fused tensor (engine/arch/fused_tensors.h): its row r is row
  // slice.first + r / block * stride + r % block of the file's tensor. block 0: a tensor of its own.
  struct Slice {
    int64_t first = 0, block = 0, stride = 0;
    size_t whole_bytes = 0;  // of the file's tensor
  } slice;
  // Not 0: the file holds the matrix as (inputs, outputs) with this many outputs.
  int64_t transposed_outputs = 0;

  int64_t elements() const;
  int64_t rows() const { return shape.size() < 2 ? 1 : shape[0]; }
  // What the data pointer leads to: of the fused tensor, where this is a slice.
  size_t stored_bytes() const { return slice.block == 0 ? bytes : slice.whole_bytes; }
  int64_t row_length() const { return shape.empty() ? 1 : elements() / (rows() == 0 ? 1 : rows()); }
};

// "[576, 192]"
std::string shape_text(const std::vector<int64_t>& shape);

// The type in which products read such a tensor when nothing else is asked for: itself, or f32 for
// quantised and 64-bit ones.
DType stored_dtype(StorageType type);

// Rows first .. first + n - 1 as elements of `dtype` (n, row_length()), 16-bit ones rounded to
// nearest even. A vector is one row.
void read_rows(const StoredTensor& tensor, int64_t first, int64_t n, DType dtype, void* out);

// Where the blocks of row `row` of a quantised matrix begin.
const std::byte* stored_row(const StoredTensor& tensor, int64_t row);

// A whole tensor as float; a permuted vector (q and k biases) comes out in the half-split order
// too.
std::vector<float> read_floats(const StoredTensor& tensor);

}  // namespace kv
