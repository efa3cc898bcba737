#!/usr/bin/env bash
# Sets up, builds, fetches the small real model once and does the smoke run. Further flags go to `kvengine run`.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/build.sh release
build/kvengine pull smollm2-135m-instruct
build/kvengine run configs/smoke.yaml "$@"
