#!/usr/bin/env python3
"""bench/grid.py's sweep as a user of kvpress runs it: every cell prefills each context again and decodes alone.

    python3 tools/peers/kvpress_grid.py --model FOLDER --ids FILE.json --out RESULT.json [--threads 2] [--exact-knorm]

The result holds, for each cell: press, ratio; and for each list of ids: the greedy ids with the margin between the two
largest logits at each, and the mean NLL of the suffix without its first token; with the seconds that they took. Give it to
`bench/grid.py --against`. --exact-knorm: Knorm takes its norms before rotation, where repeated tokens tie exactly in layer
0, and the earlier position wins, as in kvengine; kvpress leaves the choice to the rounding of their rotations. Needs torch, transformers, kvpress. Takes many minutes on a CPU.
"""
import argparse
import contextlib
import importlib.metadata
import json
import time

import kvpress
import torch
from transformers import AutoModelForCausalLM, DynamicCache

PRESSES = {"knorm": kvpress.KnormPress, "snapkv": kvpress.SnapKVPress, "streamingllm": kvpress.StreamingLLMPress,
           "lagkv": kvpress.LagKVPress, "expectedattention": kvpress.ExpectedAttentionPress}
RATIOS = (0.25, 0.5, 0.75)


class ExactKnormPress(kvpress.KnormPress):
    """Knorm without the rounding of rotated keys; the earlier of equal norms first."""

    def score(self, module, hidden_states, keys, values, attentions, kwargs):
        raw = module.k_proj(hidden_states).unflatten(-1, (-1, module.head_dim)).transpose(1, 2)
        norms = torch.linalg.vector_norm(raw, dim=-1, dtype=torch.float64).float().double()
        return -norms - 1e-12 * torch.arange(raw.shape[2], dtype=torch.float64)


class Cell:
    """One press at one ratio on one model."""

    def __init__(self, model, press):
        self.model, self.press = model, press

    def compressed(self, ids):
        """The cache of a context after compression; without the output head, as kvpress's pipeline prefills."""
        cache = DynamicCache()
        with self.press(self.model) if self.press else contextlib.nullcontext():
            self.model.model(input_ids=ids, past_key_values=cache)
        return cache

    def feed(self, ids, cache, first_position):
        positions = torch.arange(first_position, first_position + ids.shape[1])[None]
        return self.model(input_ids=ids, past_key_values=cache, position_ids=positions).logits[0].float()

    def generate(self, ids, n_context, n_new):
        """Ids, margins, seconds of the prefill, seconds of the decoding."""
        start = time.perf_counter()
        cache = self.compressed(ids[:, :n_context])
        prefilled = time.perf_counter()
        token, chosen, margins = ids[:, n_context : n_context + 1], [], []
        for position in range(n_context, n_context + n_new):
            best = self.feed(token, cache, position)[-1].topk(2)
            chosen.append(best.indices[0].item())
            margins.append(round((best.values[0] - best.values[1]).item(), 5))
            token = best.indices[:1][None]
        return chosen, margins, prefilled - start, time.perf_counter() - prefilled

    def suffix_nll(self, ids, n_prefix):
        start = time.perf_counter()
        cache = self.compressed(ids[:, :n_prefix])
        prefilled = time.perf_counter()
        logits = self.feed(ids[:, n_prefix:], cache, n_prefix)
        nll = torch.nn.functional.cross_entropy(logits[:-1], ids[0, n_prefix + 1 :]).item()
        return nll, prefilled - start, time.perf_counter() - prefilled


def run_cell(model, press, ratio, lists, options):
    cell = Cell(model, PRESSES[press](compression_ratio=ratio) if press != "none" else None)
    result = {"press": press, "ratio": ratio, "ids": [], "margins": [], "nll": []}
    seconds = {"prefill_s": 0.0, "decode_s": 0.0, "nll_prefill_s": 0.0, "nll_suffix_s": 0.0}
    for one in lists:
        ids = torch.tensor([one])
        chosen, margins, prefill, decode = cell.generate(ids, options.context, options.new)
        nll, nll_prefill, suffix = cell.suffix_nll(ids[:, : options.ppl_length], options.ppl_length // 2)
        result["ids"].append(chosen)
        result["margins"].append(margins)
        result["nll"].append(nll)
        for key, value in zip(seconds, (prefill, decode, nll_prefill, suffix)):
            seconds[key] += value
    print(f"{press} {ratio}: " + ", ".join(f"{k} {v:.1f}" for k, v in seconds.items()), flush=True)
    return result, seconds


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--ids", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--contexts", type=int, default=4)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--ppl-length", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--exact-knorm", action="store_true")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.exact_knorm:
        PRESSES["knorm"] = ExactKnormPress
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype)).eval()
    with open(options.ids) as file:
        lists = json.load(file)[: options.contexts]
    model(torch.tensor([lists[0][:64]]))  # warms up
    start = time.perf_counter()
    cells = [("none", 0.0)] + [(press, ratio) for press in PRESSES for ratio in RATIOS]
    done = [run_cell(model, press, ratio, lists, options) for press, ratio in cells]
    totals = {key: round(sum(seconds[key] for _, seconds in done), 3) for key in done[0][1]}
    result = {"engine": "kvpress " + importlib.metadata.version("kvpress"), "torch": torch.__version__,
              "dtype": options.dtype, "threads": options.threads, "wall_s": round(time.perf_counter() - start, 3),
              "totals": totals, "results": [cell for cell, _ in done]}
    with open(options.out, "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
