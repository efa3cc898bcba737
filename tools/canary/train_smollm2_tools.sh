#!/bin/sh
# Trains models/smollm2-tools from SmolLM2-135M-Instruct, from text sampling to adapter and figure. Goes on where it was
# interrupted. Needs Python with torch, transformers and safetensors; two CPU cores take about eight hours.
#   tools/canary/train_smollm2_tools.sh MODEL_DIR [PYTHON]
# MODEL_DIR: the base model in Hugging Face layout.
set -eu
model=$(realpath "$1")
python=${2:-python3}
cd "$(dirname "$0")/../.."
work=results/smollm2-tools
mkdir -p "$work"

[ -f "$work/base_text.jsonl" ] ||
  "$python" tools/canary/sample_text.py "$model" "$work/base_text.jsonl" --count 128 --tokens 224 --seed 0

train() {
  "$python" tools/canary/train_adapter.py "$model" --work "$work" --seed 0 "$@"
}

# The stages of the training that ships: formats and look-ups first, then more steps with fewer tokens each. --tokens was
# raised twice while it ran, so the rate fell and rose again once; the stages say where.
train --until 91000 --tokens 330000 --grow 150000 --pack 500 --mix 50 30 10 10 0 0 --text-share 0.5
train --until 112000 --tokens 290000 --text-share 0.5
train --until 209000 --tokens 340000
train --until 299000 --tokens 310000
train --until 335000 --tokens 420000
train --tokens 375000
"$python" tools/canary/plot_log.py "$work/log.csv" models/smollm2-tools/loss.svg

# Once more from there, on documents of the evaluation sets' length from the start, with new moments and a new seed.
second="$work/second"
mkdir -p "$second"
[ -f "$second/base_text.jsonl" ] || cp "$work/base_text.jsonl" "$second/"
"$python" tools/canary/train_adapter.py "$model" --work "$second" --from models/smollm2-tools --seed 1 --grow 1 \
  --tokens 340000 --decay 0.55 --mix 58 30 5 7 0 0 --text-share 0.12
"$python" tools/canary/plot_log.py "$second/log.csv" models/smollm2-tools/loss_second.svg

# Trains what ships so far further, the upper two thirds of the layers, with heads taught where to look; draws its loss.
#   train_further NAME SEED OPTION...
train_further() {
  name=$1 seed=$2
  shift 2
  mkdir -p "$work/$name"
  [ -f "$work/$name/base_text.jsonl" ] || head -n 64 "$work/base_text.jsonl" > "$work/$name/base_text.jsonl"
  "$python" tools/canary/train_adapter.py "$model" --work "$work/$name" --from models/smollm2-tools --seed "$seed" \
    --grow 1 --decay 1.0 --text-share 0.1 --shortest 0.7 --look 0.3 --train-from 10 "$@"
  "$python" tools/canary/plot_log.py "$work/$name/log.csv" "models/smollm2-tools/loss_$name.svg"
}

# And again, mostly tool calls. (Copied pieces keeping their source's tokens and the vote of the name's heads came in after
# 145,000 tokens of it.)
train_further third 2 --tokens 390000 --mix 80 12 3 5 0 0

# What was left were common words that nobody had ever spelled to it: half of the string values are any words now.
train_further fourth 3 --tokens 120000 --rate 6e-4 --mix 84 8 3 5 0 0 --spell 0.5

# Which value belongs to which key, more words to spell, and requests as people write them. A rate of 1e-3 undid more
# than it taught.
train_further fifth 4 --until 24000 --tokens 450000 --mix 56 8 3 5 28 0 --spell 0.5
train_further fifth 4 --until 74000 --tokens 520000 --mix 48 8 2 4 24 14 --spell 0.5
train_further fifth 4 --until 321000 --tokens 520000 --rate 5e-4 --mix 48 8 2 4 24 14 --spell 0.5
train_further fifth 4 --tokens 590000 --rate 5e-4 --mix 44 8 2 4 32 10 --spell 0.8

# Keys by vote, what opens a value, numbers and flags among the strings.
train_further sixth 5 --until 215000 --tokens 470000 --rate 5e-4 --mix 40 6 2 4 40 8 --spell 0.8
train_further sixth 5 --tokens 420000 --rate 5e-4 --mix 40 6 2 4 40 8 --spell 0.8

# Any word describes a tool or an argument, so that words are compared and not known.
train_further seventh 6 --tokens 200000 --rate 5e-4 --mix 54 4 2 4 30 6 --spell 0.7 --vary 0.5

# Last: in the request, which value stands beside which field; more code.
train_further eighth 7 --tokens 280000 --rate 5e-4 --mix 48 10 2 4 30 6 --spell 0.7 --vary 0.5
