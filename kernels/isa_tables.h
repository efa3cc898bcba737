// Where dispatch.cc finds the tables. Each is defined in the file that is compiled for its
// instruction set; only dispatch.cc may use them, after it asked the CPU.
#pragma once

#include "kernels/kernels.h"

namespace kv::scalar {
extern const Kernels kTable;
}
namespace kv::avx2 {
extern const Kernels kTable;
}
namespace kv::avx512 {
extern const Kernels kTable;
}
namespace kv::avx512_vnni {  // the same, with VNNI's instruction in the eight-bit product
extern const Kernels kTable;
}
