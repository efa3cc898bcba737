#!/usr/bin/env python3
"""A tour of kvengine in Python: what a compressor removes, what it saves, and what it costs.

Usage: examples/tour.py [MODEL], from the project's folder or with any other model.
"""

import sys
from pathlib import Path

import numpy as np

import kvengine

ROOT = Path(__file__).resolve().parents[1]
SPECS = ["none", "int4", "snapkv(ratio=0.5)", "streamingllm(ratio=0.5)", "snapkv(ratio=0.5)+int4"]


def main():
    model = kvengine.Model(sys.argv[1] if len(sys.argv) > 1 else ROOT / "models" / "canary")
    print(model)

    # A context with a fact in its middle, and the question that asks for it.
    story = (ROOT / "tasks" / "data" / "canary" / "background.txt").read_text(encoding="utf-8")[:2400]
    middle = story.index(". ", 1200) + 2
    needle = "The pass key is 60417. Remember it. 60417 is the pass key. "
    context = model.tokenizer.encode(story[:middle] + needle + story[middle:])
    question = model.tokenizer.encode("\nWhat is the pass key? The pass key is ", add_special_tokens=False)
    answer = model.tokenizer.encode("60417", add_special_tokens=False)

    # One prefill, compressed five ways.
    caches = model.prefill(context, SPECS)
    print(f"{len(context)} tokens of context, {model.tokens_computed} rows computed for {len(caches)} caches\n")

    # The question goes into each cache, all in one pass; then the answer is scored, then decoded.
    model.feed(caches, [question] * len(caches))
    scores = model.score(caches, [answer] * len(caches))
    answers = model.generate(caches, max_new_tokens=8, until=["."])
    full = caches[0].bytes
    print(f"{'compressor':26} {'memory':>7} {'kept':>5} {'log p(answer)':>14}  answer")
    for spec, cache, score, generated in zip(SPECS, caches, scores, answers):
        kept = np.mean([len(head) for layer in cache.kept for head in layer]) / len(context)
        print(f"{spec:26} {cache.bytes / full:7.1%} {kept:5.0%} {score.total:14.2f}  {generated.text.strip()!r}")

    # Which rows stayed: the context in 60 columns, one line for each KV head of the first layer.
    print("\nrows kept by snapkv in layer 0, oldest to the left:")
    for head in caches[2].kept[0]:
        share, _ = np.histogram(head, bins=60, range=(0, len(context)))
        print("".join(" .:+#"[min(4, int(4 * n * 60 / len(context) + 0.5))] for n in share))


if __name__ == "__main__":
    main()
