#!/usr/bin/env python3
"""Compares quanto* and hqq* with transformers' QuantizedCache, and writes the golden values of their tests.

    python tools/check_quantized_cache.py --kvengine BIN --model DIR [--prompt 96] [--suffix 80]
    python tools/check_quantized_cache.py --golden tests/data/quantized_cache.txt

Needs torch, transformers, optimum-quanto and hqq. The first form feeds a random prompt and a suffix, token by token, to both programs in float32 and prints, for each spec, the
largest difference of the suffix logits as a share of the largest logit, before and after the layer was coded again, beside
the difference that the cache makes at all. Coding values again that lie on the steps of other groups puts many of them on
rounding borders, where sums of another order decide; so only what comes before is judged: the script ends with status 1
where that is above --tolerance times what the cache itself changes.

The second form codes one small layer of made-up values with optimum-quanto and hqq themselves and writes what comes back:
a line with name and axis, then the values.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, QuantizedCache
from transformers.cache_utils import HQQQuantizedLayer, QuantoQuantizedLayer

LAYERS = {"quanto": QuantoQuantizedLayer, "hqq": HQQQuantizedLayer}
# hqq's own packing has no 3 bits with axis 1.
GOLDEN = [("quanto", 4, 0), ("quanto", 2, 0), ("quanto", 4, -1), ("quanto", 2, -1)] + [
    ("hqq", bits, axis) for bits in (8, 4, 3, 2, 1) for axis in (0, 1) if (bits, axis) != (3, 1)
]
HEADS, ROWS, DIM, GROUP = 2, 8, 8, 8  # of the golden layer
RESIDUALS = (32, 128)


def made_up_values():
    """(1, HEADS, ROWS, DIM) multiples of 1/1024 between -4 and 4 from a small congruential generator."""
    state, values = 12345, []
    for _ in range(HEADS * ROWS * DIM):
        state = (state * 1103515245 + 12345) % 2**31
        values.append((state >> 16) % 8192 / 1024 - 4)
    return torch.tensor(values).reshape(1, HEADS, ROWS, DIM)


def write_golden(path):
    values, lines = made_up_values(), []
    for backend, bits, axis in GOLDEN:
        layer = LAYERS[backend](nbits=bits, axis_key=axis, axis_value=axis, q_group_size=GROUP)
        layer.keys = values  # where hqq reads device and type
        decoded = layer._dequantize(layer._quantize(values, axis=axis)).flatten()
        lines.append(f"{backend}{bits} {axis}")
        lines.append(" ".join(f"{x:.9g}" for x in decoded.tolist()))
    path.write_text("\n".join(lines) + "\n")


def reference_logits(model, prompt, suffix, cache):
    with torch.no_grad():
        model(torch.tensor([prompt]), past_key_values=cache)
        rows = []
        for i, token in enumerate(suffix):
            position = torch.tensor([[len(prompt) + i]])
            out = model(torch.tensor([[token]]), past_key_values=cache, position_ids=position,
                        cache_position=position[0])
            rows.append(out.logits[0, -1])
    return torch.stack(rows)


def engine_logits(binary, folder, prompt, suffix, specs):
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as temporary:
        request, result = pathlib.Path(temporary, "request.json"), pathlib.Path(temporary, "result.safetensors")
        common = {"model": str(folder), "prompt_ids": prompt, "suffix_ids": suffix}
        request.write_text(json.dumps([common | {"compressor": spec} for spec in specs]))
        subprocess.run([binary, "probe", request, result], check=True)
        tensors = load_file(result)
    return [tensors[f"r{i}.suffix_logits"] for i in range(len(specs))]


def compare(options):
    transformers.utils.logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(options.seed)
    ids = torch.randint(0, config.vocab_size, (options.prompt + options.suffix,), generator=generator).tolist()
    prompt, suffix = ids[: options.prompt], ids[options.prompt :]
    cases = [(backend, bits, axis, residual) for backend, bits, axis in GOLDEN for residual in RESIDUALS]
    specs = [f"{b}{n}(group={options.group},residual={r},axis={a})" for b, n, a, r in cases]
    full, *found = engine_logits(options.kvengine, options.model, prompt, suffix, ["none"] + specs)
    worst = 0
    for (backend, bits, axis, residual), spec, got in zip(cases, specs, found):
        cache = QuantizedCache(backend, config, nbits=bits, axis_key=axis, axis_value=axis, q_group_size=options.group,
                               residual_length=residual)
        try:
            want = reference_logits(model, prompt, suffix, cache)
        except (RuntimeError, ValueError, AssertionError) as error:
            print(f"{spec}: transformers refuses: {str(error).splitlines()[0]}")
            continue
        differences = (got - want).abs().amax(dim=1) / want.abs().max()
        effect = ((full - want).abs().max() / want.abs().max()).item()
        before, after = differences[:residual].max().item(), differences[residual:]
        worst = max(worst, before / effect)
        again = f", {after.max().item():.1e} after coding again" if len(after) else ""
        print(f"{spec}: differs by {before:.1e}{again}; the full cache by {effect:.1e}")
    return int(worst > options.tolerance)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", type=pathlib.Path, help="write this file and nothing else")
    parser.add_argument("--kvengine", help="the program to check")
    parser.add_argument("--model", type=pathlib.Path, help="folder in Hugging Face layout")
    parser.add_argument("--prompt", type=int, default=96)
    parser.add_argument("--suffix", type=int, default=80)
    parser.add_argument("--group", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tolerance", type=float, default=0.05)
    options = parser.parse_args()
    if options.golden:
        return write_golden(options.golden)
    if not options.kvengine or not options.model:
        parser.error("--kvengine and --model are needed (or --golden)")
    return compare(options)


if __name__ == "__main__":
    sys.exit(main())
