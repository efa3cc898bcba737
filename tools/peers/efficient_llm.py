#!/usr/bin/env python3
"""configs/efficient-llm.yaml's sweep on kvpress, and what lies between the two.

    python3 tools/peers/efficient_llm.py run --model FOLDER --text wiki.test.raw --out RESULT.json [--windows 3]
    python3 tools/peers/efficient_llm.py compare RESULT.json MODEL_DATASET_kv_metrics.json

run: every cell prefills each window's first half under its press, then scores the second half from that cache, the first
token from the last prefix logit; float32. --repetitions N also times a prompt of a window's length with 32 new tokens.
compare: relative differences of the perplexities, by press and ratio; ends with an error where one is above 0.1 %. Run
kvengine with as many samples. Needs torch, transformers, kvpress; minutes for each window on a CPU.
"""
import argparse
import importlib.metadata
import json
import math
import statistics
import sys
import time

RATIOS = (0.1, 0.3, 0.5, 0.7)
LENGTH, PREFIX, NEW_TOKENS = 1024, 512, 32
LARGEST_DIFFERENCE = 1e-3


def windows(tokenizer, text, count):
    """The first windows of the lines that are not blank, tokenized one by one, EOS between them."""
    ids = []
    for line in text.split("\n"):
        if not line.strip():
            continue
        if ids:
            ids.append(tokenizer.eos_token_id)
        ids += tokenizer(line, add_special_tokens=False).input_ids
        if len(ids) >= count * LENGTH:
            break
    return [ids[i * LENGTH : (i + 1) * LENGTH] for i in range(len(ids) // LENGTH)][:count]


class Runner:
    """One model under one press after the other."""

    def __init__(self, folder, threads):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(threads)
        self.torch = torch
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def prefill(self, ids, press):
        """The last logits and the cache after compression."""
        import contextlib

        from transformers import DynamicCache

        cache = DynamicCache()
        with press(self.model) if press else contextlib.nullcontext():
            logits = self.model(input_ids=ids, past_key_values=cache, logits_to_keep=1).logits
        return logits[0, -1].float(), cache

    def feed(self, ids, cache, position):
        """Logits of every id, from their true positions on."""
        positions = self.torch.arange(position, position + ids.shape[1])[None]
        return self.model(input_ids=ids, past_key_values=cache, position_ids=positions).logits[0].float()

    def suffix_nll(self, window, press):
        """Mean over the window's second half."""
        ids = self.torch.tensor([window])
        last, cache = self.prefill(ids[:, :PREFIX], press)
        logits = self.feed(ids[:, PREFIX:], cache, PREFIX)
        rows = self.torch.cat([last[None], logits[:-1]])
        return self.torch.nn.functional.cross_entropy(rows, ids[0, PREFIX:]).item()

    def generate(self, window, press):
        """Seconds of the prefill, to the first token, and of each later token."""
        ids = self.torch.tensor([window])
        start = time.perf_counter()
        last, cache = self.prefill(ids, press)
        prefilled = time.perf_counter()
        token = last.argmax()[None, None]
        first = time.perf_counter()
        for position in range(LENGTH, LENGTH + NEW_TOKENS - 1):
            token = self.feed(token, cache, position)[-1].argmax()[None, None]
        return prefilled - start, first - start, (time.perf_counter() - first) / (NEW_TOKENS - 1)


def run(options):
    """Writes one row for each cell, the baseline first."""
    import kvpress
    import torch

    runner = Runner(options.model, options.threads)
    with open(options.text, encoding="utf-8") as file:
        chunks = windows(runner.tokenizer, file.read(), options.windows)
    presses = {"knorm": kvpress.KnormPress, "snapkv": kvpress.SnapKVPress, "streamingllm": kvpress.StreamingLLMPress,
               "lagkv": kvpress.LagKVPress}
    cells = [("baseline", 0.0)] + [(name, ratio) for name in presses for ratio in RATIOS]
    rows, start = [], time.perf_counter()
    with torch.inference_mode():
        for name, ratio in cells:
            press = None if name == "baseline" else presses[name](compression_ratio=ratio)
            begin = time.perf_counter()
            nll = [runner.suffix_nll(chunk, press) for chunk in chunks]
            row = {"method": name, "compression_ratio": ratio, "ppl": math.exp(statistics.mean(nll)), "nll": nll,
                   "seconds": time.perf_counter() - begin}
            if options.repetitions:
                runs = [runner.generate(chunks[0], press) for _ in range(options.warmup + options.repetitions)]
                times = zip(*runs[options.warmup :])
                row |= dict(zip(("prefill_time", "ttft", "tpot"), map(statistics.median, times)))
            rows.append(row)
            print(f"{name} {ratio}: ppl {row['ppl']:.4f}, {row['seconds']:.1f} s", flush=True)
    result = {"kvpress": importlib.metadata.version("kvpress"), "windows": len(chunks), "threads": options.threads,
              "seconds": time.perf_counter() - start, "rows": rows}
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)


def compare(options):
    """Prints every cell's perplexities and their relative difference."""
    with open(options.result, encoding="utf-8") as file:
        theirs = {(row["method"], row["compression_ratio"]): row for row in json.load(file)["rows"]}
    with open(options.metrics, encoding="utf-8") as file:
        ours = {(row["method"], row["compression_ratio"]): row for row in json.load(file)}
    if theirs.keys() != ours.keys():
        sys.exit(f"not the same cells: {sorted(theirs.keys() ^ ours.keys())}")
    print("| method | ratio | ppl kvengine | ppl kvpress | relative difference |\n|---|---:|---:|---:|---:|")
    largest = 0.0
    for key, row in theirs.items():
        difference = ours[key]["ppl"] / row["ppl"] - 1
        largest = max(largest, abs(difference))
        print(f"| {key[0]} | {key[1]} | {ours[key]['ppl']:.4f} | {row['ppl']:.4f} | {difference:+.1e} |")
    if largest > LARGEST_DIFFERENCE:
        sys.exit(f"the largest relative difference is {largest:.1e}, more than {LARGEST_DIFFERENCE}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    sweep = verbs.add_parser("run")
    sweep.add_argument("--model", required=True)
    sweep.add_argument("--text", required=True)
    sweep.add_argument("--out", required=True)
    sweep.add_argument("--windows", type=int, default=3)
    sweep.add_argument("--threads", type=int, default=2)
    sweep.add_argument("--repetitions", type=int, default=0)
    sweep.add_argument("--warmup", type=int, default=4)
    sweep.set_defaults(action=run)
    beside = verbs.add_parser("compare")
    beside.add_argument("result")
    beside.add_argument("metrics")
    beside.set_defaults(action=compare)
    options = parser.parse_args()
    options.action(options)


if __name__ == "__main__":
    main()
