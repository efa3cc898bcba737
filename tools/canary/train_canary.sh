#!/bin/sh
# Trains models/canary from its starting weights. Goes on where it was interrupted. Needs Python with torch, tokenizers and
# safetensors; two CPU cores take about two hours.
#   tools/canary/train_canary.sh [PYTHON]
set -eu
python=${1:-python3}
cd "$(dirname "$0")/../.."
work=results/canary
mkdir -p "$work"

train() {
  "$python" tools/canary/train_canary.py --threads 2 "$@"
}

# First the circuits of the starting weights, by the loss of the answers alone.
[ -d "$work/first_model" ] ||
  train --state "$work/first" --tokens 3.9e6 --out "$work/first_model"

# Then heads are taught where each step of a look-up looks, and connected once they do; and once more at a high rate.
[ -d "$work/second_model" ] ||
  train --state "$work/second" --from "$work/first_model" --seen 3.9e6 --tokens 12e6 --look 0.3 --connect-at 5.7e6 \
    --shares tool_call=.36,few_tools=.16,code_exec=.25,passkey=.09,multikey=.06,prose=.08 --lr 1.5e-3 --out "$work/second_model"
train --state "$work/third" --from "$work/second_model" --seen 12e6 --tokens 15.4e6 --look 0.2 --anneal 0.6 --lr 1.2e-3 \
  --shares tool_call=.42,few_tools=.16,code_exec=.22,passkey=.07,multikey=.05,prose=.08 --out models/canary
(cat "$work/second/log.csv" && tail -n +2 "$work/third/log.csv") > "$work/log.csv"
"$python" tools/canary/plot_log.py "$work/log.csv" models/canary/loss.svg
