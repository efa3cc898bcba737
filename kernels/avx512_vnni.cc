// The kernels for AVX-512 with VNNI (Cascade Lake, Zen 4 and later): those of avx512.cc, but that four
// eight-bit products and their sum are one instruction.

// GCC 12's own intrinsics header draws these false warnings (bug 105593), wherever it is inlined.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include "kernels/activation_constants.h"
#include "kernels/exp_constants.h"
#include "kernels/int8_constants.h"
#include "kernels/isa_tables.h"

#define KV_ISA avx512_vnni
#define KV_VECTOR_BITS 512
#define KV_VNNI
#include "kernels/vec.h"

#include "kernels/impl.inc"
