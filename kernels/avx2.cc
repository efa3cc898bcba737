// The kernels for AVX2, FMA and F16C: Haswell, Zen and later.
#include "kernels/activation_constants.h"
#include "kernels/exp_constants.h"
#include "kernels/int8_constants.h"
#include "kernels/isa_tables.h"

#define KV_ISA avx2
#define KV_VECTOR_BITS 256
#include "kernels/vec.h"

#include "kernels/impl.inc"
