// The AVX-512 kernels for CPUs with VNNI, emulated.
#include "tests/kernels/emulated_avx512.h"

#include "kernels/activation_constants.h"
#include "kernels/exp_constants.h"
#include "kernels/int8_constants.h"
#include "tests/kernels/emulated_tables.h"

#define KV_ISA emulated_avx512_vnni
#define KV_VECTOR_BITS 512
#define KV_VNNI
#include "kernels/vec.h"

#include "kernels/impl.inc"
