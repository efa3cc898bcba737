// Which table to use: asked of the CPU once, overruled by KVENGINE_ISA.
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "kernels/isa_tables.h"

namespace kv {
namespace {

constexpr Isa kAllIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512};

bool cpu_has(Isa isa) {
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  switch (isa) {
    case Isa::kScalar:
      return true;
    case Isa::kAvx2:
      return avx2;
    case Isa::kAvx512:
      return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
  return false;
}

Isa choose_isa() {
  const char* wish = std::getenv("KVENGINE_ISA");
  if (wish == nullptr || *wish == '\0') {
    return cpu_has(Isa::kAvx512) ? Isa::kAvx512 : cpu_has(Isa::kAvx2) ? Isa::kAvx2 : Isa::kScalar;
  }
  for (Isa candidate : kAllIsas) {
    if (std::string(wish) != isa_name(candidate)) continue;
    if (cpu_has(candidate)) return candidate;
    throw std::runtime_error(std::string("KVENGINE_ISA=") + wish +
                             ": this CPU lacks the instructions; unset it or choose a lower one");
  }
  throw std::runtime_error(std::string("KVENGINE_ISA=") + wish +
                           ": unknown instruction set; expected scalar, avx2 or avx512");
}

}  // namespace

const char* dtype_name(DType t) {
  switch (t) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
  }
  return "unknown";
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

const Kernels* kernels_for(Isa isa) {
  if (!cpu_has(isa)) return nullptr;
  switch (isa) {
    case Isa::kScalar:
      return &scalar::kTable;
    case Isa::kAvx2:
      return &avx2::kTable;
    case Isa::kAvx512:
      return __builtin_cpu_supports("avx512vnni") ? &avx512_vnni::kTable : &avx512::kTable;
  }
  return nullptr;
}

const Kernels* kernels_without_vnni() {
  return cpu_has(Isa::kAvx512) ? &avx512::kTable : nullptr;
}

Isa isa() {
  static const Isa chosen = choose_isa();
  return chosen;
}

const Kernels& kernels() {
  static const Kernels& table = *kernels_for(isa());
  return table;
}

}  // namespace kv
