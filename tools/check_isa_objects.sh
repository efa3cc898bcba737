#!/bin/sh
# Usage: check_isa_objects.sh BUILD_DIR
# The objects compiled for AVX2 and AVX-512 may define no weak symbol (the linker could pick that copy for the whole
# program, which then crashes on an older CPU) and nothing outside their own namespace. And their products must ask for
# weights ahead: GCC takes a function that only prefetches for one without effects, and has left out its calls.
set -eu

if [ $# -ne 1 ] || [ ! -d "$1" ]; then
  echo "usage: $0 BUILD_DIR" >&2
  exit 2
fi

status=0
for isa in avx2 avx512 avx512_vnni; do
  object=$(find "$1" -name "$isa.cc.o" -path '*kv_kernels*' | head -n 1)
  if [ -z "$object" ]; then
    echo "$1: no object of kernels/$isa.cc; build kv_kernels first" >&2
    exit 1
  fi
  # Type letters: capitals are visible to the linker; W, V and u are weak or unique. The sanitizers' own are theirs.
  defined=$(nm -C --defined-only "$object" | sed 's/^[0-9a-f]* *//' | grep -v -E '^. (__odr_asan|__asan|__ubsan|__tsan|asan\.|DW\.ref)' || true)
  weak=$(printf '%s\n' "$defined" | grep -E '^[WwVvu] ' || true)
  foreign=$(printf '%s\n' "$defined" | grep -E '^[A-Z] ' | grep -v -E "^[WVu] |^[A-Z] kv::$isa::" || true)
  if [ -n "$weak" ]; then
    printf '%s: weak symbols:\n%s\n' "$object" "$weak" >&2
    status=1
  fi
  if [ -n "$foreign" ]; then
    printf '%s: symbols outside kv::%s:\n%s\n' "$object" "$isa" "$foreign" >&2
    status=1
  fi
  if ! printf '%s\n' "$defined" | grep -q -E "^[A-Z] kv::$isa::kTable\$"; then
    echo "$object: kv::$isa::kTable is missing" >&2
    status=1
  fi
  if ! objdump -dC "$object" | awk '/>:$/ { product = /gemm_(block|rows|parts)/ } product && /prefetcht0/ { found = 1 } END { exit !found }'; then
    echo "$object: no prefetch in the float products" >&2
    status=1
  fi
done
exit $status
