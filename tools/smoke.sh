#!/usr/bin/env bash
# Sets up, builds and does the smoke run, which downloads nothing. Further flags go to `kvengine run`.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/build.sh release
build/kvengine run configs/smoke.yaml --allow-code-execution "$@"
