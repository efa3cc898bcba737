#!/usr/bin/env python3
"""kvengine, transformers and llama.cpp in turn on one machine: medians, spread, ratios.

    python3 tools/peers/speed.py --model M [--weights f32] [--hf FOLDER] [--gguf FILE --llama DIR] [--rounds 3] [--batched]

M is ours (a folder or .gguf), FOLDER transformers' and FILE llama.cpp's copy of the same weights; the three must be of one
type for a fair ratio (`--weights`, `--hf-dtype`, the file's type). DIR holds llama-bench and llama-batched-bench
(tools/peers/build_llama_cpp.sh). Peers that are not given are left out. Measured, in tokens/s: prefill of 512 and 2,048
tokens; decoding after 1, 512 and 2,048 tokens; with --batched 16 sequences on one shared prompt of 512 and 2,048.
Run it on a quiet machine; a round takes about a minute for a model of 135 M parameters.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys

LENGTHS = (512, 2048)
SEQUENCES = 16
ROOT = pathlib.Path(__file__).resolve().parents[2]


def output_of(command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def ours(args):
    speeds = {}
    for length in (1, *LENGTHS):
        text = output_of([args.build / "frontier", args.model, "f32" if args.kv_f32 else "none", "--contexts", length,
                          "--steps", args.new, "--rounds", 1, "--weights", args.weights, "--threads", args.threads])
        prefill = re.search(r"prefill of \d+ tokens +([\d.]+)", text)
        decode = re.search(r"([\d.]+) +[\d.]+\.\.[\d.]+ +[\d.]+$", text, re.MULTILINE)
        if length > 1:
            speeds[f"prefill {length}"] = float(prefill[1])
        speeds[f"decode {length}"] = float(decode[1])
    if args.batched:
        for length in LENGTHS:
            text = output_of([args.build / "shared_prompt", args.model, SEQUENCES, length, args.new, args.weights])
            shared = [float(speed) for speed in re.findall(r"f16: shared ([\d.]+)", text)]
            speeds[f"{SEQUENCES} on {length}"] = statistics.median(shared)
    return speeds


def transformers(args):
    text = output_of([sys.executable, ROOT / "tools/peers/transformers_speed.py", "--model", args.hf, "--dtype", args.hf_dtype,
                      "--threads", args.threads, "--lengths", ",".join(map(str, (1, *LENGTHS))), "--new", args.new])
    speeds = {}
    for row in map(json.loads, text.splitlines()):
        speeds[f"decode {row['length']}"] = row["decode"]
        if row["length"] > 1:
            speeds[f"prefill {row['length']}"] = row["prefill"]
    return speeds


def llama_cpp(args):
    speeds = {}
    common = ["-m", args.gguf, "-t", args.threads, "-r", 1, "-o", "jsonl"]
    text = output_of([args.llama / "llama-bench", "-p", ",".join(map(str, LENGTHS)), "-n", 0, *common])
    text += output_of([args.llama / "llama-bench", "-p", 0, "-n", args.new, "-d", ",".join(map(str, (0, *LENGTHS))), *common])
    for row in map(json.loads, text.splitlines()):
        name = f"prefill {row['n_prompt']}" if row["n_prompt"] else f"decode {max(1, row['n_depth'])}"
        speeds[name] = row["avg_ts"]
    if args.batched:
        for length in LENGTHS:
            rows = output_of([args.llama / "llama-batched-bench", "-m", args.gguf, "-c", length + SEQUENCES * (args.new + 8),
                              "-b", 2048, "-ub", 512, "-kvu", "-pps", "-npp", length, "-ntg", args.new, "-npl", SEQUENCES,
                              "-t", args.threads, "-tb", args.threads, "--output-format", "jsonl"])
            for line in rows.splitlines():
                if line.startswith("{"):
                    speeds[f"{SEQUENCES} on {length}"] = json.loads(line)["speed_tg"]
    return speeds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", default="stored", help="ours: stored, f32, bf16, f16 or int8")
    parser.add_argument("--kv-f32", action="store_true", help="our rows in f32, as transformers keeps them; else f16, as llama.cpp does")
    parser.add_argument("--hf")
    parser.add_argument("--hf-dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--gguf")
    parser.add_argument("--llama", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--new", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batched", action="store_true")
    args = parser.parse_args()
    if bool(args.gguf) != bool(args.llama):
        parser.error("--gguf and --llama belong together")
    engines = {"kvengine": ours}
    if args.hf:
        engines["transformers"] = transformers
    if args.gguf:
        engines["llama.cpp"] = llama_cpp
    runs = {name: [] for name in engines}
    for turn in range(args.rounds):
        for name, measure in engines.items():
            print(f"round {turn + 1}: {name}", file=sys.stderr, flush=True)
            runs[name].append(measure(args))
    print(f"| tokens/s, median of {args.rounds} (slowest to fastest) | " + " | ".join(engines) + " | ratios |")
    print("|---" * (len(engines) + 2) + "|")
    for what in runs["kvengine"][0]:
        row, medians = [], []
        for name in engines:
            speeds = sorted(run[what] for run in runs[name] if what in run)
            medians.append(statistics.median(speeds) if speeds else None)
            row.append(f"{medians[-1]:.1f} ({speeds[0]:.1f} to {speeds[-1]:.1f})" if speeds else "")
        ratios = ", ".join(f"{medians[0] / other:.2f}" for other in medians[1:] if other)
        print(f"| {what} | " + " | ".join(row) + f" | {ratios} |")


if __name__ == "__main__":
    main()
