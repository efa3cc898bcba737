"""Compare `kvengine tokenize` with Hugging Face's tokenizers on files and on random Unicode text.

  check_tokenizer.py --kvengine build/kvengine --model DIR [--file F ...] [--random N] [--seed S]

DIR holds a tokenizer.json. Every file is tokenised whole; N random strings go through one call, one per line. Prints
the first differences; exit status 1 where there is one. Needs the Python package tokenizers.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

from tokenizers import Tokenizer


def random_text(rng):
    """No line breaks: the strings go into a file, one per line."""
    pools = [lambda: chr(rng.randint(32, 126)), lambda: rng.choice(" \t\u00a0\u3000\u2003\u200b\u200d\ufeff") * rng.randint(1, 4),
             lambda: chr(rng.randint(0xa0, 0x24ff)), lambda: chr(rng.randint(0x300, 0x36f)),
             lambda: chr(rng.randint(0x4e00, 0x9fff)), lambda: chr(rng.randint(0xac00, 0xd7a3)),
             lambda: chr(rng.randint(0x1f300, 0x1faff)), lambda: rng.choice(["'s", "'LL", " the", "<|im_end|>", "12345"]),
             lambda: chr(rng.choice([rng.randint(1, 0xd7ff), rng.randint(0xe000, 0x10ffff)]))]
    text = "".join(rng.choice(pools)() for _ in range(rng.randint(1, 60)))
    return "".join(c for c in text if len(c.splitlines()) == 1 and c not in "\n\r")


def tokenize(args, path, lines):
    command = [args.kvengine, "tokenize", "--model", args.model, "--file", str(path)] + (["--lines"] if lines else [])
    begin = time.perf_counter()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(f"{path}: {time.perf_counter() - begin:.2f} s, program start and model included")
    return [json.loads(line) for line in output.splitlines() if line.strip()]


def compare(name, texts, ours, reference):
    if len(texts) != len(ours):
        print(f"{name}: {len(texts)} texts, but {len(ours)} results")
        return len(texts)
    wrong = 0
    for text, ids in zip(texts, ours):
        expected = reference.encode(text).ids
        if ids == expected:
            continue
        wrong += 1
        at = next((i for i, (a, b) in enumerate(zip(ids, expected)) if a != b), min(len(ids), len(expected)))
        if wrong <= 5:
            print(f"{name}: token {at} differs: ours {ids[at:at + 5]}, expected {expected[at:at + 5]}: {text[:80]!r}")
    print(f"{name}: {len(texts)} texts, {wrong} differ")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kvengine", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--file", action="append", default=[])
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    reference = Tokenizer.from_file(str(pathlib.Path(args.model) / "tokenizer.json"))
    reference.no_truncation()
    reference.no_padding()
    wrong = 0
    for path in args.file:
        text = pathlib.Path(path).read_bytes().decode()
        wrong += compare(path, [text], tokenize(args, path, False), reference)
    if args.random:
        rng = random.Random(args.seed)
        texts = [text for text in (random_text(rng) for _ in range(args.random)) if text.strip()]
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8", newline="") as file:
            file.write("".join(text + "\n" for text in texts))
            file.flush()
            wrong += compare("random strings", texts, tokenize(args, file.name, True), reference)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
