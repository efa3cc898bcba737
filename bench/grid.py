#!/usr/bin/env python3
"""The grid that users of kvpress run, on kvengine: where its time goes and whether it gives the same results.

    python3 bench/grid.py --model FOLDER --ids FILE.json [--against RESULT.json] [--repeat 3]

16 cells: the full cache, and Knorm, SnapKV, StreamingLLM, LagKV, ExpectedAttention at 0.25, 0.5, 0.75, with kvpress's
defaults. Each on every list of token ids: --context tokens prefilled, one question token, 32 greedy tokens; and the
suffix perplexity of --ppl-length tokens of which the first half is compressed. One `kvengine run` does all of it; this
script writes its config, reads its manifest and prints for each phase

    seconds, TFLOP, GFLOP/s, share of the time that the machine's measured peak of multiply-adds would need

and the tokens prefilled and the peak memory beside the plan. --against compares with a result of
tools/peers/kvpress_grid.py: mean suffix NLL (without the first suffix token, which is not scored there) and greedy ids up
to the first place where the reference's margin is small. Needs only Python; exit status 1 where a comparison fails.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import struct
import subprocess
import sys
import tempfile

PRESSES = ("Knorm", "SnapKV", "StreamingLLM", "LagKV", "ExpectedAttention")
RATIOS = (0.25, 0.5, 0.75)
NLL_LIMIT = 1e-4     # relative
MARGIN_LIMIT = 2e-3  # logits closer than this may swap


def config_text(options, presses, ratios):
    cells = "".join(f"  - {{name: {press}, ratio: [{', '.join(map(str, ratios))}]"
                    f"{', ties: torch' if press == 'LagKV' else ''}}}\n" for press in presses)
    ids = json.dumps(str(pathlib.Path(options.ids).resolve()))
    memory = f", memory: {options.memory}" if options.memory else ""
    return (f"models: [{json.dumps(str(pathlib.Path(options.model).resolve()))}]\ncompressors:\n{cells}tasks:\n"
            f"  - {{name: continuation, data: {ids}, context: {options.context}, question: 1, max_new_tokens: {options.new},"
            f" samples: {options.contexts}}}\n"
            f"  - {{name: perplexity, data: chunks.json, max_length: {options.ppl_length}, samples: {options.contexts}}}\n"
            f"run: {{threads: {options.threads}, kv_dtype: {options.kv_dtype}, weights: {options.weights}{memory}}}\n")


def run_grid(options, folder, name, presses=PRESSES, ratios=RATIOS):
    """The manifest's last session and the records of one sweep."""
    (folder / f"{name}.yaml").write_text(config_text(options, presses, ratios))
    subprocess.run([options.kvengine, "run", str(folder / f"{name}.yaml"), "--out", str(folder / name), "--quiet"],
                   check=True, stdout=subprocess.DEVNULL)
    manifest = json.loads((folder / name / "manifest.json").read_text())
    records = [json.loads(line) for line in (folder / name / "samples.jsonl").read_text().splitlines()]
    return manifest, records


def measured_peak(options):
    """GFLOP/s of fused multiply-adds on all threads, as kvbench measures it at its start."""
    kvbench = pathlib.Path(options.kvengine).with_name("kvbench")
    text = subprocess.run([str(kvbench), "--benchmark_filter=parallel_for/empty"], check=True, capture_output=True,
                          text=True)
    rates = re.findall(r"peak of fma \w+: ([0-9.]+) GFLOP/s", text.stdout + text.stderr)
    if not rates:
        sys.exit("kvbench printed no peak; give --peak GFLOPS")
    return max(map(float, rates))


def read_tensor(path, name):
    """One float tensor of a safetensors file."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    begin, end = json.loads(raw[8 : 8 + size])[name]["data_offsets"]
    data = raw[8 + size + begin : 8 + size + end]
    return struct.unpack(f"<{len(data) // 4}f", data)


def first_nll(options, folder, ids):
    """Cost of the first suffix token of every chunk: the same for all cells, as the prompt is exact."""
    half = options.ppl_length // 2
    requests = [{"model": str(pathlib.Path(options.model).resolve()), "prompt_ids": one[:half],
                 "suffix_ids": one[half : half + 1], "kv_dtype": options.kv_dtype, "threads": options.threads}
                for one in ids]
    (folder / "first.json").write_text(json.dumps(requests))
    out = folder / "first.safetensors"
    subprocess.run([options.kvengine, "probe", str(folder / "first.json"), str(out)], check=True)
    return [read_tensor(out, f"r{i}.suffix_nll")[0] for i in range(len(ids))]


def print_phases(sessions, peak):
    """Medians over the repetitions."""
    print(f"{'phase':10} {'seconds':>8} {'spread':>7} {'TFLOP':>7} {'GFLOP/s':>8} {'of peak':>8}")
    names = sorted({name for s in sessions for name in s["phases"]}, key=lambda n: -sessions[0]["phases"][n]["seconds"])
    sums = []
    for name in names + ["all"]:
        if name == "all":
            seconds = [sum(p["seconds"] for p in s["phases"].values()) for s in sessions]
            flops = sum(p["flops"] for p in sessions[0]["phases"].values())
            sums = seconds
        else:
            seconds = [s["phases"][name]["seconds"] for s in sessions]
            flops = sessions[0]["phases"][name]["flops"]
        median = statistics.median(seconds)
        share = f"{flops / 1e9 / median / peak:8.0%}" if flops else f"{'':8}"
        print(f"{name:10} {median:8.2f} {max(seconds) - min(seconds):7.2f} {flops / 1e12:7.2f} "
              f"{flops / 1e9 / median:8.1f} {share}")
    return statistics.median(sums)


def cell_key(record):
    return (record["method"].split("+")[0], round(record["compression_ratio"], 4))


def compare(records, first, options, path):
    """Largest relative difference of mean suffix NLLs, and greedy ids that differ where the margin was clear."""
    reference = json.loads(pathlib.Path(path).read_text())
    worst, wrong, n_ids, n_close = 0.0, 0, 0, 0
    missed = []
    by_cell = {}
    for record in records:
        by_cell.setdefault(cell_key(record), {}).setdefault(record["task"], {})[record["sample_id"]] = record
    for cell in reference["results"]:
        press = cell["press"].replace("expectedattention", "expected_attention")
        mine = by_cell[(press, round(cell["ratio"], 4))]
        for i, nll in enumerate(cell["nll"][: options.contexts]):
            record = mine["perplexity"][f"ppl{i}"]
            n = record["n_tokens"]
            ours = (record["scores"]["nll"] * n - first[i]) / (n - 1)
            difference = abs(ours - nll) / abs(nll)
            worst = max(worst, difference)
            if difference > NLL_LIMIT:
                missed.append(f"{press} {cell['ratio']} list {i}: mean suffix NLL {ours:.6f}, there {nll:.6f}")
            ids, margins = cell["ids"][i], cell["margins"][i]
            got = mine["continuation"][f"text{i}"]["output_ids"]
            for at, (a, b, margin) in enumerate(zip(ids, got, margins)):
                n_ids += 1
                if a == b:
                    continue
                # From here on the two feed different tokens.
                wrong += margin > MARGIN_LIMIT
                if margin > MARGIN_LIMIT:
                    missed.append(f"{press} {cell['ratio']} list {i}: generated id {at} is {b}, there {a} (margin {margin})")
                n_close += margin <= MARGIN_LIMIT
                break
    print(f"against {reference['engine']}: mean suffix NLL differs by at most {worst:.1e} (limit {NLL_LIMIT}); {n_ids} greedy "
          f"ids equal but {wrong} (limit 0) and {n_close} within a margin of {MARGIN_LIMIT}")
    for line in missed:
        print("  " + line)
    totals = reference["totals"]
    print(f"  its time: {reference['wall_s']:.1f} s, of which generation {totals['prefill_s'] + totals['decode_s']:.1f} s; "
          "quote ratios only of runs in turn on one quiet machine")
    return worst <= NLL_LIMIT and wrong == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kvengine", default="build/kvengine")
    parser.add_argument("--model", required=True, help="folder or file of a model")
    parser.add_argument("--ids", required=True, help="JSON list of token-id lists")
    parser.add_argument("--contexts", type=int, default=4, help="lists taken")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--ppl-length", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kv-dtype", default="f32")
    parser.add_argument("--weights", default="f32")
    parser.add_argument("--memory", help="run.memory")
    parser.add_argument("--peak", type=float, help="GFLOP/s; default: measured with kvbench")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--against", help="a result of tools/peers/kvpress_grid.py")
    parser.add_argument("--fourth-ratio", action="store_true", help="also what a fourth ratio adds, in time and FLOP")
    options = parser.parse_args()
    ids = json.loads(pathlib.Path(options.ids).read_text())[: options.contexts]
    options.contexts = min(options.contexts, len(ids))
    with tempfile.TemporaryDirectory(prefix="kvengine-grid-") as folder:
        folder = pathlib.Path(folder)
        # The first chunk of each list alone: perplexity would cut longer lists into several.
        (folder / "chunks.json").write_text(json.dumps([one[: options.ppl_length] for one in ids]))
        peak = options.peak or measured_peak(options)
        runs = [run_grid(options, folder, f"run{i}") for i in range(options.repeat)]
        sessions = [manifest["sessions"][-1] for manifest, _ in runs]
        manifest, records = runs[0]
        load = os.getloadavg()[0]
        print(f"{manifest['environment']['cpu']}, {sessions[0]['isa']}, {options.threads} threads, "
              f"peak {peak:.0f} GFLOP/s, load {load:.1f}, {options.repeat} run(s)")
        total = print_phases(sessions, peak)
        generation = statistics.median(
            s["phases"]["prefill"]["seconds"] + s["phases"]["compress"]["seconds"] + s["phases"]["decode"]["seconds"]
            for s in sessions)
        memory = sessions[0]["memory"]
        print(f"{manifest['tokens_prefilled']} tokens prefilled (alone: {manifest['tokens_requested']}); prefill, compression "
              f"and decoding {generation:.2f} s of {total:.2f} s")
        print(f"memory: caches {memory['caches_peak_bytes'] / 2**20:.0f} MiB at most; the process "
              f"{memory['peak_bytes'] / 2**20:.0f} MiB, before the work {memory['before_bytes'] / 2**20:.0f}; planned "
              f"{memory['planned_bytes'] / 2**20:.0f} on top of that")
        if options.fourth_ratio:
            four = run_grid(options, folder, "four", ratios=(*RATIOS, 0.875))[0]["sessions"][-1]["phases"]
            three = sessions[0]["phases"]
            peers = ("suffix", "decode")
            added = sum(four[p]["seconds"] for p in four) - sum(three[p]["seconds"] for p in three)
            flops = sum(four[p]["flops"] - three[p]["flops"] for p in peers)
            rate = sum(three[p]["flops"] for p in peers) / sum(three[p]["seconds"] for p in peers)
            print(f"a fourth ratio: {added:.2f} s, its own suffix and decode FLOPs at the grid's rate {flops / rate:.2f} s: "
                  f"{added * rate / flops:.2f} times")
        if options.against and not compare(records, first_nll(options, folder, ids), options, options.against):
            sys.exit(1)


if __name__ == "__main__":
    main()
