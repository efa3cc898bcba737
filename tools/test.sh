#!/usr/bin/env bash
# Sets up, builds and runs the tests: tools/test.sh [PRESET [CTEST FLAGS…]], for example tools/test.sh asan -R safetensors
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
[ $# -gt 0 ] && shift
tools/build.sh "$preset"
ctest --preset "$preset" -j "$(nproc)" "$@"
