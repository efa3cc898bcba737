#!/usr/bin/env bash
# Sets up, configures and builds one preset (default: release): tools/build.sh [PRESET]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
tools/setup.sh
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset"
