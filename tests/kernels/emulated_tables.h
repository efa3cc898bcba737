// The AVX-512 kernels as plain C++ (emulated_avx512.h): they want AVX2 of the CPU, and no more.
#pragma once

#include "kernels/kernels.h"

namespace kv::emulated_avx512 {
extern const Kernels kTable;
}
namespace kv::emulated_avx512_vnni {
extern const Kernels kTable;
}
