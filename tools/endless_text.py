#!/usr/bin/env python3
"""Judges bench/endless_text: a long text through a rolling window, beside transformers over the same windows.

  endless_text.py recompute --model FOLDER --text FILE --out SAMPLE.json [--tokens 100000] [--block 10000]
                            [--windows 10] [--each 16] [--sinks 4] [--window 1020]
  endless_text.py report    --sample SAMPLE.json --run NAME=OUT.csv,OUT.safetensors [--run NAME=OUT.csv ...]
                            --table T.md --figure F.svg

`recompute` needs torch, transformers and tokenizers. In every block it takes `windows` evenly spaced places and computes,
from nothing but the first `sinks` tokens and the `window` tokens before, the cost of `each` tokens in a row: in one pass
whose mask gives each of them a window of its own. `report` needs numpy and safetensors: it averages the runs over the
same positions (the first run is the one compared, the only one whose tensors are read) and writes table and figure.
"""
import argparse
import csv
import json
import pathlib

from line_chart import COLORS, Chart


def recompute(arguments):
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    folder = pathlib.Path(arguments.model)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    text = pathlib.Path(arguments.text).read_text(encoding="utf-8")
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    ids = ids[: arguments.tokens]
    sinks, window, each = arguments.sinks, arguments.window, arguments.each
    n = sinks + window + each - 1
    row, column = torch.arange(n)[:, None], torch.arange(n)[None]
    seen = (column <= row) & ((row - column < window) | (column < sinks))
    mask = torch.zeros(1, 1, n, n).masked_fill(~seen, float("-inf"))
    samples = []
    for block in range(0, arguments.tokens, arguments.block):
        for i in range(arguments.windows):
            # The first of `each` tokens whose cost is taken.
            at = max(block + (2 * i + 1) * arguments.block // (2 * arguments.windows), sinks + window)
            context = ids[:sinks] + ids[at - window : at + each - 1]
            logits = model(torch.tensor([context]), attention_mask=mask, logits_to_keep=each).logits[0]
            cost = torch.nn.functional.cross_entropy(logits.double(), torch.tensor(ids[at : at + each]), reduction="none")
            samples.append(dict(block=block // arguments.block, at=at, nll=[round(c, 6) for c in cost.tolist()]))
            pathlib.Path(arguments.out).write_text(json.dumps(dict(
                sinks=sinks, window=window, block=arguments.block, ids=ids[:64], samples=samples)) + "\n")


class Run:
    def __init__(self, text):
        self.name, files = text.rsplit("=", 1)
        rows, *self.tensors = files.split(",")
        with open(rows, encoding="utf-8") as file:
            self.rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


    def read_tensors(self):
        """Ids, and the cost of each of them."""
        from safetensors.numpy import load_file

        loaded = load_file(self.tensors[0])
        return loaded["ids"].tolist(), loaded["nll"].astype(float)

    def cost(self, index):
        """Of a block, where the run came that far."""
        return f"{self.rows[index]['nll']:.3f}" if index < len(self.rows) else ""


def report(arguments):
    import numpy as np

    sample = json.loads(pathlib.Path(arguments.sample).read_text())
    runs = [Run(text) for text in arguments.run]
    ids, nll = runs[0].read_tensors()
    if ids[: len(sample["ids"])] != sample["ids"]:
        raise SystemExit(f"{runs[0].name}: other tokens than in {arguments.sample}")
    compared = {}  # block: ours, recomputed
    for block in sorted({s["block"] for s in sample["samples"]}):
        of_block = [s for s in sample["samples"] if s["block"] == block]
        ours = np.mean([nll[s["at"] + i] for s in of_block for i in range(len(s["nll"]))])
        compared[block] = ours, np.mean([c for s in of_block for c in s["nll"]])
    lines = [
        "| tokens | " + " | ".join(f"NLL, {run.name}" for run in runs)
        + " | sample: ours | recomputed | difference | KiB in use | allocated | most so far |",
        "|---:|" + "---:|" * (len(runs) + 6),
    ]
    for i, row in enumerate(runs[0].rows):
        costs = " | ".join(run.cost(i) for run in runs)
        kib = " | ".join(f"{row[key] / 1024:,.0f}" for key in ("bytes_in_use", "bytes_allocated", "bytes_peak"))
        beside = " |  | "
        if i in compared:
            ours, recomputed = compared[i]
            beside = f"{ours:.3f} | {recomputed:.3f} | {100 * (ours / recomputed - 1):+.1f} %"
        lines.append(f"| {row['tokens']:,.0f} | {costs} | {beside} | {kib} |")
    pathlib.Path(arguments.table).write_text("\n".join(lines) + "\n")
    series = [(run.name, [(r["tokens"], r["nll"]) for r in run.rows]) for run in runs]
    places = [((block + 0.5) * sample["block"], *costs) for block, costs in compared.items()]
    pathlib.Path(arguments.figure).write_text(figure(series, places))


def figure(series, recomputed):
    """Lines of (tokens, nats), and pairs (tokens, ours, recomputed) over the sampled tokens."""
    last = max(x for _, points in series for x, _ in points)
    high = 1.05 * max(y for _, points in series for _, y in points)
    chart = Chart("mean cost of the tokens of each block, nats", "tokens read", (0, last), (0, high))
    chart.y_ticks(range(0, int(high) + 1))
    chart.x_ticks(range(0, int(last) + 1, 20000))
    for (_, points), color in zip(series, COLORS):
        chart.line(points, color)
    for x, ours, theirs in recomputed:
        chart.dot(x, ours, "#333333", radius=2)
        chart.dot(x, theirs, "#333333", radius=5, ring=True)
    names = [(name, color) for (name, _), color in zip(series, COLORS)]
    names.append((f"some tokens of a block: {series[0][0]} (dot), recomputed by transformers (ring)", ("#333333",)))
    chart.legend(names)
    return chart.svg()


def main():
    parser = argparse.ArgumentParser(description="a long text through a rolling window")
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("recompute")
    for name in ("model", "text", "out"):
        one.add_argument(f"--{name}", required=True)
    for name, default in dict(tokens=100000, block=10000, windows=10, each=16, sinks=4, window=1020, threads=1).items():
        one.add_argument(f"--{name}", type=int, default=default)
    one.set_defaults(run_command=recompute)
    two = commands.add_parser("report")
    for name in ("sample", "table", "figure"):
        two.add_argument(f"--{name}", required=True)
    two.add_argument("--run", action="append", required=True)
    two.set_defaults(run_command=report)
    arguments = parser.parse_args()
    arguments.run_command(arguments)


if __name__ == "__main__":
    main()
