// Quantised matrices as codes: what products can take as the file holds it (weights: codes).
#pragma once

#include <cstdint>

#include "engine/stored_tensor.h"

namespace kv {

// Bits of the codes in which products take a type; 0: they do not. Eight-bit ones are code * scale with
// one half-precision scale for 32 inputs (Q8_0, Q5_0); four-bit ones are code * scale + minimum with both
// as float for 32 inputs (Q4_0, Q4_1, Q4_K).
int code_bits(StorageType type);
const char* coded_types();  // all of them, for messages

// Row `row`: the bits of a scale for each 32 inputs (row_length() / 32) and the codes (row_length()).
void read_codes(const StoredTensor& tensor, int64_t row, uint16_t* scales, int8_t* codes);

// Likewise, of a four-bit type: codes 0 … 15. code * scale + minimum, both rounded, is what dequantize.h
// gives.
void read_codes(const StoredTensor& tensor, int64_t row, float* scales, float* minimums,
                uint8_t* codes);

}  // namespace kv
