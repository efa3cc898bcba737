#!/usr/bin/env python3
"""Prefill and decode speed of transformers, one JSON line for each length (see speed.py, which takes turns with others).

    python3 tools/peers/transformers_speed.py --model FOLDER [--dtype float32|bfloat16] [--threads 2] [--lengths 512,2048] [--new 16]

Random tokens; sdpa attention; only the last position's logits; greedy decoding after the prompt. Needs torch, transformers.
"""
import argparse
import json
import time

import torch
from transformers import AutoModelForCausalLM, DynamicCache


def measure(model, length, n_new):
    """Seconds of the prefill of `length` random tokens, and of n_new tokens after it."""
    ids = torch.randint(3, model.config.vocab_size, (1, length), generator=torch.Generator().manual_seed(0))
    cache = DynamicCache(config=model.config)
    start = time.perf_counter()
    logits = model(ids, past_key_values=cache, logits_to_keep=1).logits
    prefilled = time.perf_counter()
    for _ in range(n_new):
        token = logits[:, -1].argmax(-1, keepdim=True)
        logits = model(token, past_key_values=cache, logits_to_keep=1).logits
    return prefilled - start, time.perf_counter() - prefilled


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lengths", default="512,2048")
    parser.add_argument("--new", type=int, default=16)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype), attn_implementation="sdpa").eval()
    with torch.inference_mode():
        measure(model, 64, 2)  # warms up
        for length in map(int, args.lengths.split(",")):
            prefill, decode = measure(model, length, args.new)
            print(json.dumps({"length": length, "prefill": length / prefill, "decode": args.new / decode}), flush=True)


if __name__ == "__main__":
    main()
