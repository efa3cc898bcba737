// What the two files of the scalar definition share.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"

namespace kv::scalar {

// tile (head_dim, kTile) in place; cos, sin (rotary_dim / 2, kTile), null: as they are.
void rotate_keys(float* tile, const float* cos, const float* sin, int rotary_dim);

// keys (head_dim, kTile).
void score(const std::vector<float>& keys, int head_dim, const KeyProduct& product);

// Entries of the table (kernels.h).
void load_keys_int(int bits, const uint8_t* codes, const uint16_t* scale, const uint16_t* minimum,
                   int group, int head_dim, int block, const float* cos, const float* sin,
                   int rotary_dim, float* out);
void load_keys_channels(int bits, const uint8_t* codes, const uint16_t* scale,
                        const uint16_t* minimum, int group, int head_dim, float* out);
void score_keys_int(int bits, const uint8_t* codes, const uint16_t* scale, const uint16_t* minimum,
                    int group, int head_dim, const float* cos, const float* sin, int rotary_dim,
                    const KeyProduct& product);
void load_values_int(int bits, const uint8_t* codes, const uint16_t* scale, const uint16_t* minimum,
                     int group, int n, int head_dim, float* out);
void decode_rows(const CodeRows& in, int n_rows, int n_columns, float* out, int64_t stride);
void weigh_rows(const CodeRows& in, int n_rows, int n_columns, const float* a, int64_t lda, int m,
                float* c, int64_t ldc, bool accumulate);
void decode_transposed(const CodeRows& in, int n_rows, int n_columns, float* out);
void hadamard(float* x, int n, int block);

}  // namespace kv::scalar
