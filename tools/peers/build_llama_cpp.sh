#!/bin/bash
# Builds llama.cpp's llama-bench, llama-batched-bench and llama-quantize for this CPU from the sdist of llama-cpp-python.
#   tools/peers/build_llama_cpp.sh [DIR] [JOBS]      default build/llama.cpp, 2; the programs end up in DIR/build/bin
set -euo pipefail
dir=${1:-build/llama.cpp}
jobs=${2:-2}
mkdir -p "$dir"
cd "$dir"
ls llama_cpp_python-*.tar.gz >/dev/null 2>&1 || pip download --no-deps --no-binary llama-cpp-python -d . llama-cpp-python
tar xzf llama_cpp_python-*.tar.gz
cmake -S llama_cpp_python-*/vendor/llama.cpp -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF \
  -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_EXAMPLES=OFF
ninja -C build -j"$jobs" llama-bench llama-batched-bench llama-quantize
