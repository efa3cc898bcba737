// kernels/dispatch.cc for the fuzz targets: the plain definitions, whatever the CPU has. The fast versions give the
// same bits and read no input; leaving them out keeps the build short.
#include "kernels/isa_tables.h"

namespace kv {

const char* dtype_name(DType t) {
  return t == DType::kF32 ? "f32" : t == DType::kF16 ? "f16" : "bf16";
}

const char* isa_name(Isa) {
  return "scalar";
}

Isa isa() {
  return Isa::kScalar;
}

const Kernels& kernels() {
  return scalar::kTable;
}

}  // namespace kv
