// The kernels for AVX-512 F, BW, DQ and VL: Skylake-X, Zen 4 and later.

// GCC 12's own intrinsics header draws these false warnings (bug 105593), wherever it is inlined.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include "kernels/activation_constants.h"
#include "kernels/exp_constants.h"
#include "kernels/int8_constants.h"
#include "kernels/isa_tables.h"

#define KV_ISA avx512
#define KV_VECTOR_BITS 512
#include "kernels/vec.h"

#include "kernels/impl.inc"
