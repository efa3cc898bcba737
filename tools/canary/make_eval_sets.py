#!/usr/bin/env python3
"""Writes the evaluation sets: 200 samples a task (long_output: 20), of names, words and values that training never uses.

  tool_calls.jsonl   six columns, 50 catalogues of 3 to 12 tools with four requests each
  problems.jsonl     HumanEval's form, specifications of 3 to 8 functions
  background.txt     the passkey task's haystack, about 60 KB: {name: passkey, data: canary/background.txt, ...}
  prose.jsonl        200 stories, one a row, for perplexity
  long_outputs.jsonl programs and lists of 8 to 16 pieces for long_output, 10 each

Usage: make_eval_sets.py [--out tasks/data/canary] [--seed 0] [--check]. The same seed gives the same bytes; --check
writes nothing and fails where a file in --out differs.
"""

import argparse
import json
import os
import random
import sys

import long_outputs
import programs
import prose
import tool_calls

N_SAMPLES = 200
N_LONG = 20
REQUESTS_PER_CATALOG = 4
DEFAULT_OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tasks", "data", "canary")


def tool_call_rows(rng: random.Random) -> list[dict]:
    """Catalogues of every size from 3 to 12 in turn."""
    rows: list[dict] = []
    for index in range(N_SAMPLES // REQUESTS_PER_CATALOG):
        rows += tool_calls.make_rows(rng, True, 3 + index % 10, REQUESTS_PER_CATALOG)
    return rows


def problems(rng: random.Random) -> list[dict]:
    """Specifications of every size from 3 to 8 in turn."""
    return [programs.make_problem(rng, True, 3 + index % 6, f"canary/{index}") for index in range(N_SAMPLES)]


def long_rows(rng: random.Random) -> list[dict]:
    """Of both kinds in turn, of 8 to 16 pieces."""
    kinds = list(long_outputs.MAKE)
    return [
        long_outputs.make_row(rng, True, kinds[i % 2], 8 + i // 2 % 5 * 2, f"{kinds[i % 2]}/{i // 2}")
        for i in range(N_LONG)
    ]


def stories(rng: random.Random, count: int) -> list[str]:
    """Stories of 40 sentences, some 400 tokens each."""
    return [prose.make_story(rng, True, 40) for _ in range(count)]


def lines(rows: list[dict]) -> str:
    """JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def make_files(seed: int) -> dict[str, str]:
    """Every file's text by its name; each has its own random stream."""

    def stream(name: str) -> random.Random:
        return random.Random(f"{seed} {name}")

    background = stories(stream("passkey"), 40)
    return {
        "tool_calls.jsonl": lines(tool_call_rows(stream("tool_call"))),
        "problems.jsonl": lines(problems(stream("code_exec"))),
        "long_outputs.jsonl": lines(long_rows(stream("long_output"))),
        "prose.jsonl": lines([{"text": text} for text in stories(stream("prose"), N_SAMPLES)]),
        "background.txt": "".join(text + "\n" for text in background),
    }


def differing(files: dict[str, str], folder: str) -> list[str]:
    """The names of files that are missing in the folder or have another text there."""
    names = []
    for name, text in files.items():
        path = os.path.join(folder, name)
        if not os.path.exists(path) or open(path, encoding="utf-8", newline="").read() != text:
            names.append(name)
    return names


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=DEFAULT_OUT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    files = make_files(arguments.seed)
    if arguments.check:
        names = differing(files, arguments.out)
        print(f"not what seed {arguments.seed} gives: {', '.join(names)}" if names else "all files as generated")
        return 1 if names else 0
    os.makedirs(arguments.out, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(arguments.out, name), "w", encoding="utf-8", newline="") as file:
            file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
