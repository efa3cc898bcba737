#!/usr/bin/env bash
# Fuzzes what reads the user's files: tools/fuzz.sh [SECONDS [TARGET…]], for example tools/fuzz.sh 600 gguf
# SECONDS are shared by the targets (default: 60, all targets), after they are built. New inputs stay in
# build-fuzz/corpus; KVENGINE_FUZZ_SEED=N repeats a run, as far as it came; a finding is written to build-fuzz/findings
# and ends the run with status 1.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
if [ $# -gt 0 ]; then
  targets=("$@")
else
  targets=(safetensors gguf gguf_model tokenizer chat_template model_config compressor_spec run_config saved_cache)
fi

tools/setup.sh fuzz
cmake --preset fuzz >/dev/null
cmake --build build-fuzz --target "${targets[@]/#/fuzz_}"

share=$((seconds / ${#targets[@]}))
mkdir -p build-fuzz/findings
for target in "${targets[@]}"; do
  corpus=build-fuzz/corpus/$target
  mkdir -p "$corpus"
  dictionary=()
  [ -f "tests/fuzz/$target.dict" ] && dictionary=("-dict=tests/fuzz/$target.dict")
  log=build-fuzz/findings/$target.log
  options=("-seed=${KVENGINE_FUZZ_SEED:-0}" -max_total_time=$((share > 0 ? share : 1)) -max_len=65536
    -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 "-artifact_prefix=build-fuzz/findings/$target-")
  if ! build-fuzz/fuzz_"$target" "$corpus" "tests/fuzz/seeds/$target" "${dictionary[@]}" "${options[@]}" \
      >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    echo "fuzz: $target: a finding; the input lies in build-fuzz/findings" >&2
    exit 1
  fi
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  echo "fuzz: $target: ${share} s, $executions executions, no finding"
done
