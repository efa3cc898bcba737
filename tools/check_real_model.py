#!/usr/bin/env python3
"""Compares kvengine with transformers and kvpress on a real model, in float32 on the CPU.

  check_real_model.py --kvengine build/kvengine --model FILE.gguf|FOLDER --text FILE [--tokens 512] [--new 64]

Prints, and judges by the limits that the project promises:
  logits   of the first --tokens positions: largest difference / largest absolute logit   <= 2e-4
  greedy   --new tokens after them: equal while the top-2 margin is over 2e-3
  suffix   mean NLL of --tokens tokens after --tokens compressed ones, at ratio 0.5 with kvpress's defaults,
           for Knorm, SnapKV and StreamingLLM                                             <= 1e-4 relative
Needs torch, transformers, kvpress, gguf (for .gguf models), numpy, safetensors. Exit status 1 where a limit is missed.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from kvpress import KnormPress, SnapKVPress, StreamingLLMPress
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, DynamicCache

PRESSES = {"Knorm": KnormPress, "SnapKV": SnapKVPress, "StreamingLLM": StreamingLLMPress}
RATIO = 0.5


def load_reference(model):
    path = pathlib.Path(model)
    where = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    folder = path.parent if where else path
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **where).eval()


def reference_suffix_nll(model, press, ids, n):
    cache = DynamicCache()
    context = torch.tensor([ids[:n]])
    with press(model):
        first = model(context, past_key_values=cache).logits[0, -1:]
    positions = torch.arange(n, 2 * n)[None]
    rest = model(torch.tensor([ids[n : 2 * n]]), past_key_values=cache, position_ids=positions).logits[0]
    logits = torch.cat([first, rest[:-1]]).double()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(ids[n : 2 * n])).item()


def reference_greedy(model, ids, count):
    """ids and top-2 margins."""
    cache, out, margins = DynamicCache(), [], []
    logits = model(torch.tensor([ids]), past_key_values=cache).logits[0, -1]
    for _ in range(count):
        two = torch.topk(logits, 2)
        out.append(int(two.indices[0]))
        margins.append(float(two.values[0] - two.values[1]))
        logits = model(torch.tensor([out[-1:]]), past_key_values=cache).logits[0, -1]
    return out, margins


def probe(binary, requests):
    with tempfile.TemporaryDirectory() as tmp:
        request, out = pathlib.Path(tmp) / "request.json", pathlib.Path(tmp) / "out.safetensors"
        request.write_text(json.dumps(requests))
        subprocess.run([binary, "probe", str(request), str(out)], check=True)
        return load_file(out)


def main():
    logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kvengine", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--new", type=int, default=64)
    args = parser.parse_args()

    done = subprocess.run([args.kvengine, "tokenize", "--model", args.model, "--file", args.text, "--no-special"],
                          check=True, capture_output=True)
    n = args.tokens
    ids = json.loads(done.stdout)[: 2 * n]
    if len(ids) < 2 * n:
        sys.exit(f"check_real_model: {args.text} has only {len(ids)} tokens, {2 * n} are needed")
    requests = [{"model": args.model, "prompt_ids": ids[:n], "generate": args.new}]
    requests += [{"model": args.model, "prompt_ids": ids[:n], "suffix_ids": ids[n:], "compressor": f"{name}(ratio={RATIO})"}
                 for name in PRESSES]
    ours = probe(args.kvengine, requests)

    torch.set_grad_enabled(False)
    model = load_reference(args.model)
    failed = False

    want = model(torch.tensor([ids[:n]])).logits[0].numpy()
    error = np.abs(ours["r0.prompt_logits"] - want).max() / np.abs(want).max()
    failed |= not error <= 2e-4
    print(f"logits   {n} positions: {error:.2e} of the largest absolute logit {np.abs(want).max():.2f}")

    want_ids, margins = reference_greedy(model, ids[:n], args.new)
    got_ids = ours["r0.generated"].tolist()
    sure = next((i for i, m in enumerate(margins) if m < 2e-3), len(margins))
    equal = next((i for i, (a, b) in enumerate(zip(got_ids, want_ids)) if a != b), len(want_ids))
    failed |= equal < sure
    print(f"greedy   {equal} of {args.new} equal (margins over 2e-3 for the first {sure})")

    for i, (name, press) in enumerate(PRESSES.items()):
        want_nll = reference_suffix_nll(model, press(RATIO), ids, n)
        got_nll = float(ours[f"r{i + 1}.suffix_nll"].astype(np.float64).mean())
        relative = abs(got_nll - want_nll) / want_nll
        failed |= not relative <= 1e-4
        print(f"suffix   {name}({RATIO}): {got_nll:.7f}, reference {want_nll:.7f}, relative {relative:.1e}")
    print("FAILED" if failed else "all within the limits")
    return failed


if __name__ == "__main__":
    sys.exit(main())
