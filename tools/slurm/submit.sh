#!/bin/bash
# Submits a sweep as a job array, and a last job that merges what the tasks leave.
#
#   tools/slurm/submit.sh CONFIG.yaml OUT_FOLDER SHARDS [options of sbatch, such as --cpus-per-task=8 --mem=32G --time=4:00:00]
#
# KVENGINE names the program (default: build/kvengine beside this folder). Prints the ids of the two jobs.
set -eu
if [ $# -lt 3 ]; then
  sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
config=$(realpath "$1") shards=$3
mkdir -p "$2"
out=$(realpath "$2")
kvengine=${KVENGINE:-$here/../../build/kvengine}
shift 3
"$kvengine" validate "$config" >/dev/null # what is wrong with a config is found here, not in the queue
array=$(sbatch --parsable --array="0-$((shards - 1))" --output="$out/shard-%a.log" "$@" \
  "$here/sweep.sbatch" "$config" "$out" "$kvengine")
folders=$(seq -f "$out/shard-%g" -s ' ' 0 $((shards - 1)))
# afterany: shards that failed are reported as missing.
report=$(sbatch --parsable --job-name=kvengine-report --dependency="afterany:$array" --output="$out/report.log" \
  --wrap "$kvengine report $folders --out $out")
echo "array $array, report $report"
